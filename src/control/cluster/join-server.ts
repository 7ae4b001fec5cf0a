/** Where machines join: HTTPS on a port of its own (join-protocol.ts), since who asks has no certificate yet. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';

import { https } from '../../env/node/http.ts';
import type { NodeIdentity } from '../../env/node/cluster-tls.ts';
import { type ClusterNode, readNodeIdentity } from '../../env/node/node-identity.ts';
import { type TcpAddress, formatTcpAddress } from '../../env/tcp-address.ts';
import { Refusal } from '../../model/errors.ts';
import type { Log } from '../../model/log.ts';
import { readAuthority } from '../cluster-authority.ts';
import { JOIN_BYTES_MAX, JOIN_PATH } from '../join-protocol.ts';
import { portAfter } from '../node-ports.ts';
import type { ControlParts } from '../parts.ts';
import { problemOf } from '../problem.ts';
import { Admission } from './admission.ts';
import { FalseTokens } from './false-tokens.ts';

/** Another process may hold the port: it is tried again so often. */
const RETRY_MS = 1000;
/** One request, from its handshake to its last byte. */
const REQUEST_MS = 10_000;
const CONNECTION_COUNT_MAX = 64;

export type JoinServerOptions = {
  readonly admission: Pick<Admission, 'admit'>;
  /** What it proves itself with. Throws where that cannot be read. */
  readonly identity: () => NodeIdentity;
  readonly address: TcpAddress;
  readonly log: Log;
};

/** Where machines join by this node; undefined where the key of the cluster's authority is not here. */
export function joinsOf(parts: ControlParts, identity: ClusterNode): JoinServer | undefined {
  const { directory } = parts.installation;
  const authority = readAuthority(directory);
  if (authority === undefined) return undefined;
  const falseTokens = new FalseTokens(() => performance.now());
  return new JoinServer({
    admission: new Admission(parts, { identity, authority, falseTokens }),
    identity: () => readNodeIdentity(directory, identity),
    address: portAfter(identity.peer, 'join'),
    log: parts.log,
  });
}

export class JoinServer {
  readonly #options: JoinServerOptions;
  #server: Server | undefined;
  #timer: NodeJS.Timeout | undefined;
  #problem: string | undefined;
  #isEnding = false;

  constructor(options: JoinServerOptions) {
    this.#options = options;
  }

  get address(): TcpAddress {
    return this.#options.address;
  }

  /** Listens; a port that is taken is tried again, and told of meanwhile. */
  async start(): Promise<void> {
    const { address, log } = this.#options;
    try {
      await this.#listen();
      log('join.listening', { address: formatTcpAddress(address) });
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) log('join.not_listening', { problem });
      this.#problem = problem;
      if (!this.#isEnding) this.#timer = setTimeout(() => void this.start(), RETRY_MS);
    }
  }

  async #listen(): Promise<void> {
    const { address } = this.#options;
    const identity = this.#options.identity();
    const options = {
      // With the authority's own: by its hash the other end knows it.
      cert: identity.certificate + identity.authority,
      key: identity.key,
      minVersion: 'TLSv1.3',
      handshakeTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
    } as const;
    const server = https.createServer(options, (request, response) => {
      void this.#answer(request, response);
    });
    server.maxConnections = CONNECTION_COUNT_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(address, resolve);
    });
    this.#server = server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const from = request.socket.remoteAddress ?? '';
    try {
      const { method = '', url = '' } = request;
      if (method !== 'POST' || url !== JOIN_PATH) {
        throw new Refusal('ROUTE_NOT_FOUND', { method, path: url });
      }
      const answer = await this.#options.admission.admit(await readBody(request), from);
      send(response, 200, answer);
    } catch (error) {
      const problem = problemOf(error instanceof Error ? error : new Error(String(error)));
      this.#options.log('join.refused', { from, code: problem.code, problem: problem.detail });
      send(response, problem.status, problem);
    }
  }

  /** Ends it, with the connections that it has. */
  stop(): void {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    this.#server?.close();
    this.#server?.closeAllConnections();
  }
}

/** Throws INPUT_INVALID where it is too long or no JSON. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > JOIN_BYTES_MAX) throw new Refusal('INPUT_INVALID', { problem: 'it is too long' });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new Refusal('INPUT_INVALID', { problem: 'the request is no JSON' });
  }
}

/** Each connection is for one request. */
function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}
