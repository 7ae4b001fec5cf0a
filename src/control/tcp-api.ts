/** The API on a loopback address, for those who have the token. The same routes as on the socket, behind one check. */

import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import type { FastifyInstance, FastifyRequest } from 'fastify';

import { http } from '../env/node/http.ts';
import { formatTcpAddress } from '../env/tcp-address.ts';
import type { Log } from '../model/log.ts';
import { Refusal } from '../model/errors.ts';
import { type ApiAddress, readApiAddress } from './api-address.ts';
import { findToken, isAuthorized } from './api-token.ts';
import type { Installation } from './installation.ts';
import { onClientError } from './problem.ts';

/** Another process may hold the port: it is tried again so often. */
const RETRY_MS = 1000;
/** Refused requests are counted, and logged so often at most. */
const LOG_EVERY_MS = 60_000;

export type TcpApiOptions = { readonly installation: Installation; readonly log: Log };

/** Connections by TCP: they need the token. */
const needToken = new WeakSet<Socket>();

export class TcpApi {
  readonly #options: TcpApiOptions;
  #server: Server | undefined;
  #timer: NodeJS.Timeout | undefined;
  #problem: string | undefined;
  #address: string | undefined;

  constructor(options: TcpApiOptions) {
    this.#options = options;
  }

  /** Where it listens. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Why it does not listen where it should. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Listens where the installation wants it, if it does. A port that is taken is tried again, and told of meanwhile. */
  async start(app: FastifyInstance): Promise<void> {
    const { installation, log } = this.#options;
    try {
      const wanted = readApiAddress(installation);
      if (wanted === undefined) return;
      findToken(installation);
      await this.#listen(app, wanted);
      log('api.listening', { address: this.#address });
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) log('api.not_listening', { problem });
      this.#problem = problem;
      this.#timer = setTimeout(() => void this.start(app), RETRY_MS);
    }
  }

  async #listen(app: FastifyInstance, { host, port }: ApiAddress): Promise<void> {
    const server = http.createServer((request, response) => app.routing(request, response));
    server.on('connection', (socket: Socket) => needToken.add(socket));
    server.on('clientError', onClientError);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen({ host, port }, resolve);
    });
    this.#server = server;
    const { port: actual } = server.address() as AddressInfo;
    this.#address = formatTcpAddress({ host, port: actual });
    this.#problem = undefined;
  }

  /** Ends it, with the connections that it has. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#server?.close();
    this.#server?.closeAllConnections();
  }
}

/** Whether a request has the token that is the one now, or came by the socket and needs none. */
export function isLetIn(
  { raw, headers }: Pick<FastifyRequest, 'raw' | 'headers'>,
  { installation }: TcpApiOptions,
): boolean {
  return !needToken.has(raw.socket) || isAuthorized(headers.authorization, installation);
}

/** Adds the check. To be called before anything else answers. */
export function addTokenCheck(app: FastifyInstance, options: TcpApiOptions): void {
  const refused = countRefused(options.log);
  app.addHook('onRequest', async (request, reply) => {
    if (isLetIn(request, options)) return;
    refused();
    // RFC 6750, section 3.
    void reply.header('www-authenticate', 'Bearer realm="holdfast"');
    const problem =
      request.headers.authorization === undefined ? 'it has no token' : 'it has another one';
    throw new Refusal('TOKEN_REFUSED', { problem });
  });
}

/** A function to be called at each refused request: the first is logged at once, then their number once a minute. */
function countRefused(log: Log): () => void {
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  const tell = (): void => {
    timer = undefined;
    if (count === 0) return;
    log('api.token_refused', { count });
    count = 0;
    timer = setTimeout(tell, LOG_EVERY_MS).unref();
  };
  return () => {
    count++;
    if (timer === undefined) tell();
  };
}
