/**
 * The dialling end of control connections to one other node: asks its engine for tickets, over a connection that is made when there is
 * something to ask (docs/peer-protocol.md, "Control connection").
 */

import type { TcpAddress } from '../../env/tcp-address.ts';
import {
  type ClusterConnection,
  type NodeIdentity,
  dialNode,
  exportKeys,
} from '../../env/node/cluster-tls.ts';
import { EXPORT_BYTES, EXPORT_LABEL, TICKET_BYTES } from '../../peer/keys.ts';
import {
  type LineAnswer,
  LineSplitter,
  formatLineRequest,
  parseLineAnswer,
} from '../../wire/line-protocol.ts';
import { CALLS_MAX, PEER_VERSIONS } from './control-calls.ts';

/** Who asks waits no longer for a data connection, the whole of it. */
const ASK_MS = 1000;
const CLOSED = 'it closed the connection';

/** For one data connection; `exported` is the asker's, who makes guards of it at once. */
export type Granted = {
  readonly ticket: Uint8Array;
  readonly exported: Uint8Array;
  readonly to: TcpAddress;
};

/** No process is there, or it does not have the replica; it was not reached, or refused; it takes sealed frames alone. */
export type NotGranted = 'refused' | 'silent' | 'seal';

export type DialledHost = {
  /** This node and its engine, as the other end is told. */
  readonly node: string;
  readonly engine: string;
  readonly identity: NodeIdentity;
  nowMs(): number;
  /** Lets the runtime in, which has a socket to look after. */
  yieldTurn(): void;
  /** Its engine answers: problems of before are over. */
  onReached(): void;
  /** Why nothing is granted, for the log. */
  onProblem(problem: string): void;
};

type Ask = {
  readonly replica: string;
  readonly sealed: boolean;
  readonly onDone: (result: Granted | NotGranted) => void;
  readonly atMs: number;
  /** The connection over which it went was lost, maybe before it came there. */
  isRepeated: boolean;
};

type Line = {
  readonly connection: ClusterConnection;
  /** What was sent and has no answer, by id. */
  readonly asked: Map<number, Ask>;
  isGreeted: boolean;
  /** Why it ended, where the socket knows. */
  problem: string;
};

export class DialledNode {
  readonly address: TcpAddress;
  readonly #node: string;
  readonly #host: DialledHost;
  /** Not sent yet, oldest first. */
  #waiting: Ask[] = [];
  #line: Line | undefined;
  #isDialling = false;
  #isClosed = false;
  #nextId = 1;

  constructor(node: string, address: TcpAddress, host: DialledHost) {
    this.#node = node;
    this.address = address;
    this.#host = host;
  }

  /** Asks for a ticket. `onDone` is called once, never inside this call. */
  ask(what: Pick<Ask, 'replica' | 'sealed' | 'onDone'>): void {
    this.#waiting.push({ ...what, atMs: this.#host.nowMs(), isRepeated: false });
    this.#advance();
    this.#host.yieldTurn();
  }

  /** Time has passed: called a few times a second while somebody waits. */
  tick(): void {
    const oldest = this.#line?.asked.values().next().value ?? this.#waiting[0];
    if (oldest === undefined || this.#host.nowMs() - oldest.atMs < ASK_MS) return;
    this.#fail('silent', `it has not answered for ${ASK_MS} ms`);
  }

  /** The node is no longer to be dialled: who waits is told. */
  close(): void {
    this.#isClosed = true;
    this.#fail('silent', undefined);
  }

  #advance(): void {
    const line = this.#line;
    if (line === undefined) {
      if (!this.#isDialling && this.#waiting.length > 0) void this.#dial();
      return;
    }
    while (line.isGreeted && line.asked.size < CALLS_MAX) {
      const ask = this.#waiting.shift();
      if (ask === undefined) return;
      const id = this.#nextId++;
      line.asked.set(id, ask);
      const { replica, sealed } = ask;
      line.connection.socket.write(
        formatLineRequest({ id, call: 'ticket', args: { replica, sealed } }),
      );
    }
  }

  async #dial(): Promise<void> {
    const { identity, node, engine } = this.#host;
    this.#isDialling = true;
    try {
      const connection = await dialNode(identity, this.address, this.#node);
      this.#isDialling = false;
      const { socket } = connection;
      const line: Line = { connection, asked: new Map(), isGreeted: false, problem: CLOSED };
      const splitter = new LineSplitter();
      socket.on('error', (error) => (line.problem = error.message));
      socket.on('close', () => this.#onLost(line));
      socket.on('data', (bytes) => {
        const lines = splitter.take(bytes);
        if (lines === undefined) socket.destroy();
        for (const text of lines ?? []) this.#onLine(line, text);
      });
      if (this.#isClosed) {
        socket.destroy();
        return;
      }
      this.#line = line;
      const args = { versions: PEER_VERSIONS, node, engine };
      socket.write(formatLineRequest({ id: 0, call: 'hello', args }));
    } catch (error) {
      this.#isDialling = false;
      const isRefused = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
      this.#fail(isRefused ? 'refused' : 'silent', String(error));
    }
  }

  #onLine(line: Line, text: string): void {
    if (line !== this.#line) return;
    const answer = parseLineAnswer(text);
    if (answer.kind === 'ok' && answer.id === 0 && !line.isGreeted) {
      const { version, node } = answer.ok;
      line.isGreeted = PEER_VERSIONS.includes(Number(version)) && node === this.#node;
      if (line.isGreeted) {
        this.#host.onReached();
        this.#advance();
      } else this.#fail('silent', 'its "hello" is of another node, or another protocol');
      return;
    }
    if (answer.kind === 'error' && !line.isGreeted) {
      this.#fail('silent', `${answer.error.code}: ${answer.error.message}`);
      return;
    }
    const ask = answer.kind === 'problem' ? undefined : line.asked.get(answer.id);
    const result = ask === undefined ? undefined : this.#resultOf(line, answer);
    if (ask === undefined || result === undefined) {
      this.#fail('silent', 'it does not keep to the protocol');
      return;
    }
    line.asked.delete('id' in answer ? answer.id : 0);
    ask.onDone(result);
    this.#advance();
  }

  /** Undefined: the answer is none. */
  #resultOf({ connection }: Line, answer: LineAnswer | { kind: 'problem' }) {
    if (answer.kind === 'error') {
      const { code, message } = answer.error;
      if (code === 'PEER_MUST_SEAL') return 'seal';
      this.#host.onProblem(`${code}: ${message}`);
      return code === 'PEER_NO_REPLICA' ? 'refused' : 'silent';
    }
    if (answer.kind !== 'ok') return undefined;
    const { ticket: hex, port } = answer.ok;
    if (typeof hex !== 'string' || typeof port !== 'number') return undefined;
    const ticket = new Uint8Array(Buffer.from(hex, 'hex'));
    if (ticket.length !== TICKET_BYTES) return undefined;
    const exported = exportKeys(connection, EXPORT_BYTES, { label: EXPORT_LABEL, context: ticket });
    return { ticket, exported, to: { host: this.address.host, port } };
  }

  /** It may be closed at any time: what was under way is asked once more, over a new one. */
  #onLost(line: Line): void {
    if (line !== this.#line) return;
    this.#line = undefined;
    const asked = [...line.asked.values()];
    if (!line.isGreeted || asked.some(({ isRepeated }) => isRepeated)) {
      this.#waiting.unshift(...asked);
      this.#fail('silent', line.problem);
      return;
    }
    for (const ask of asked) ask.isRepeated = true;
    this.#waiting.unshift(...asked);
    this.#advance();
  }

  /** Gives the connection up, and tells all who wait for it. */
  #fail(result: NotGranted, problem: string | undefined): void {
    const line = this.#line;
    this.#line = undefined;
    line?.connection.socket.destroy();
    const failed = [...(line?.asked.values() ?? []), ...this.#waiting];
    this.#waiting = [];
    if (problem !== undefined) this.#host.onProblem(problem);
    for (const { onDone } of failed) onDone(result);
  }
}
