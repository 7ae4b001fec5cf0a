/** A TCP relay that can lose, hold and refuse what passes: the network between a client and one server. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';

/** `pass`; `hold`: bytes of the client wait here; `mute`: bytes of the server are dropped. */
export type RelayMode = 'pass' | 'hold' | 'mute';

export class TcpRelay {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #held: (() => void)[] = [];
  /** Counts connections. */
  connections = 0;
  mode: RelayMode = 'pass';

  private constructor(targetPort: number) {
    this.#server = net.createServer((client) => this.#relay(client, targetPort));
  }

  /** Relays to the port of `endpoint` on this machine. */
  static async to(endpoint: string): Promise<TcpRelay> {
    const relay = new TcpRelay(Number(new URL(endpoint).port));
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  #relay(client: net.Socket, port: number): void {
    this.connections++;
    const server = net.connect({ port, host: '127.0.0.1' });
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
    }
    client.on('data', (bytes) => {
      if (this.mode === 'hold') this.#held.push(() => server.write(bytes));
      else server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (this.mode !== 'mute') client.write(bytes);
    });
    // What is held is sent even when its sender has left: it was on its way.
    client.on('close', () => this.mode === 'pass' && server.destroy());
    server.on('close', () => client.destroy());
  }

  /** Lets what was held go on its way. */
  release(): void {
    for (const send of this.#held.splice(0)) send();
  }

  /** Ends all connections. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** The port that a server on TCP listens on. */
export function portOf(server: net.Server): number {
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null, 'it listens on TCP');
  return address.port;
}
