/**
 * etcd's v3 API through its JSON gateway (docs/decisions/0014): several endpoints, TLS, user and password.
 *
 * Bodies are the messages of etcd's `rpc.proto` in the JSON mapping of protobuf: keys and values in base64, 64-bit integers as strings,
 * zeros left out.
 */

import http from 'node:http';
import https from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';

import type { EtcdMessage } from './etcd-messages.ts';

/** One call, over all its attempts: an election takes 1 to 2 s, and a command line waits 10 s for control. */
const PATIENCE_MS = 8_000;
/** The first attempt at an endpoint; each round over all of them doubles it, so that an etcd that is slow is not asked ever faster. */
const ATTEMPT_MS = 1_000;
const ATTEMPT_MS_MAX = 4_000;
/** Between rounds over all endpoints. */
const ROUND_PAUSE_MS = 100;

export type EtcdAccess = {
  /** `http://HOST:PORT` or `https://HOST:PORT` of the members. */
  readonly endpoints: readonly string[];
  /** PEM texts. `ca`: whom we trust, in place of the system's; `cert` and `key`: who we are. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly user?: { readonly name: string; readonly password: string };
  /** How long a call tries; 8 s unless given. */
  readonly patienceMs?: number;
};

export type EtcdOutcome =
  /** `isRepeated`: an earlier attempt got no answer, and may take effect as well, before or after. */
  | { readonly kind: 'answer'; readonly message: EtcdMessage; readonly isRepeated: boolean }
  /** This attempt had no effect. `code` is gRPC's. */
  | {
      readonly kind: 'refused';
      readonly code: number;
      readonly problem: string;
      readonly isRepeated: boolean;
    }
  /** No endpoint answered. `isSent`: one may have taken it all the same. */
  | { readonly kind: 'silent'; readonly problem: string; readonly isSent: boolean };

type Attempt =
  | { readonly kind: 'answer'; readonly message: EtcdMessage }
  | { readonly kind: 'refused'; readonly code: number; readonly problem: string }
  | { readonly kind: 'silent'; readonly problem: string; readonly isSent: boolean };

export class EtcdGateway {
  readonly #access: EtcdAccess;
  #endpoints: readonly string[];
  readonly #agents: { readonly http: http.Agent; readonly https: https.Agent };
  /** Of the endpoint that answered last. */
  #at = 0;
  /** What etcd gave for user and password. It ends by itself, and with the member that gave it. */
  #token: string | undefined;

  constructor(access: EtcdAccess) {
    this.#access = access;
    this.#endpoints = access.endpoints;
    this.#agents = {
      http: new http.Agent({ keepAlive: true }),
      https: new https.Agent({ keepAlive: true, ...access.tls }),
    };
  }

  /** The endpoint that calls begin with. */
  get endpoint(): string {
    return this.#endpoints[this.#at] ?? '';
  }

  /** Calls begin with the next endpoint, unless they left `endpoint` already. */
  leave(endpoint: string): void {
    if (endpoint === this.endpoint) this.#at = (this.#at + 1) % this.#endpoints.length;
  }

  /** Calls from now on go to these, the first of them first: members came or went. */
  useEndpoints(endpoints: readonly string[]): void {
    this.#endpoints = endpoints;
    this.#at = 0;
  }

  /**
   * Calls `path` (such as `kv/range`) at one endpoint after the other until one answers or the access's patience ends. The same message may reach etcd
   * several times: what must take effect once carries a condition that fails the second time.
   */
  async call(path: string, message: EtcdMessage): Promise<EtcdOutcome> {
    const deadline = performance.now() + (this.#access.patienceMs ?? PATIENCE_MS);
    const count = this.#endpoints.length;
    let isSent = false;
    let hadToken = false;
    for (let attempt = 1; ; attempt++) {
      const endpoint = this.endpoint;
      const round = Math.floor((attempt - 1) / count);
      const leftMs = Math.max(1, deadline - performance.now());
      const timeoutMs = Math.min(ATTEMPT_MS * 2 ** round, ATTEMPT_MS_MAX, leftMs);
      const outcome = await this.attempt(endpoint, { path, message, timeoutMs });
      if (outcome.kind === 'refused' && isTokenProblem(outcome) && !hadToken) {
        hadToken = true;
        this.#token = undefined;
        continue;
      }
      if (outcome.kind !== 'silent') return { ...outcome, isRepeated: isSent };
      isSent ||= outcome.isSent;
      this.leave(endpoint);
      if (performance.now() + ROUND_PAUSE_MS >= deadline)
        return { kind: 'silent', problem: outcome.problem, isSent };
      if (attempt % count === 0) await pause(ROUND_PAUSE_MS);
    }
  }

  /** One call at one endpoint. */
  async attempt(
    endpoint: string,
    call: { readonly path: string; readonly message: EtcdMessage; readonly timeoutMs: number },
  ): Promise<Attempt> {
    const refused = await this.#authenticate(endpoint, call.timeoutMs);
    return refused ?? (await this.#post(endpoint, call));
  }

  /** Gets a token where one is needed. Returns why there is none. */
  async #authenticate(endpoint: string, timeoutMs: number): Promise<Attempt | undefined> {
    const { user } = this.#access;
    if (user === undefined || this.#token !== undefined) return undefined;
    const outcome = await this.#post(endpoint, {
      path: 'auth/authenticate',
      message: user,
      timeoutMs,
    });
    if (outcome.kind === 'answer') {
      this.#token = String(outcome.message['token']);
      return undefined;
    }
    if (outcome.kind === 'refused') {
      // Who has a user while etcd asks for none is let in by it all the same.
      return outcome.problem.includes('authentication is not enabled') ? undefined : outcome;
    }
    return { ...outcome, isSent: false };
  }

  #post(
    endpoint: string,
    call: { readonly path: string; readonly message: EtcdMessage; readonly timeoutMs: number },
  ): Promise<Attempt> {
    return new Promise((resolve) => {
      let isSent = false;
      const request = this.#request(endpoint, call.path, {});
      const silent = (problem: string): void => {
        clearTimeout(timer);
        resolve({ kind: 'silent', problem: `${endpoint}: ${problem}`, isSent });
        request.destroy();
      };
      const timer = setTimeout(
        () => silent(`no answer for ${(call.timeoutMs / 1000).toFixed(1)} s`),
        call.timeoutMs,
      );
      const onConnected = (): void => void (isSent = true);
      request.on('socket', (socket) => {
        if (!socket.connecting) onConnected();
        else socket.once(endpoint.startsWith('https:') ? 'secureConnect' : 'connect', onConnected);
      });
      request.on('error', (error) => silent(error.message));
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', (error) => silent(error.message));
        response.on('end', () => {
          const said = read(Buffer.concat(chunks).toString(), response.statusCode);
          if (said.kind === 'silent') return silent(said.problem);
          clearTimeout(timer);
          resolve(said);
        });
      });
      request.end(JSON.stringify(call.message));
    });
  }

  /**
   * The messages of a stream at one endpoint, until it ends, breaks (an Error is thrown) or `signal` aborts. A member that lost its
   * leader ends it.
   */
  async *stream(
    endpoint: string,
    call: { readonly path: string; readonly message: EtcdMessage; readonly signal: AbortSignal },
  ): AsyncGenerator<EtcdMessage, void> {
    const refused = await this.#authenticate(endpoint, ATTEMPT_MS_MAX);
    if (refused !== undefined && 'problem' in refused) throw new Error(refused.problem);
    const request = this.#request(endpoint, call.path, { 'Grpc-Metadata-hasleader': 'true' });
    const destroy = (): void => void request.destroy();
    call.signal.addEventListener('abort', destroy);
    try {
      const responding = new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve);
        request.on('error', reject);
        request.once('close', () => reject(new Error('closed')));
      });
      request.end(JSON.stringify(call.message));
      let rest = '';
      for await (const chunk of (await responding).setEncoding('utf8')) {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const said = read(line);
          if (said.kind !== 'answer') throw new Error(said.problem);
          yield said.message;
        }
      }
    } finally {
      call.signal.removeEventListener('abort', destroy);
      request.destroy();
    }
  }

  /** The next call asks for a new token. */
  forgetToken(): void {
    this.#token = undefined;
  }

  #request(endpoint: string, path: string, headers: http.OutgoingHttpHeaders): http.ClientRequest {
    const url = new URL(`/v3/${path}`, endpoint);
    const token = this.#token === undefined ? {} : { Authorization: this.#token };
    const options = { method: 'POST', headers: { ...headers, ...token } };
    return url.protocol === 'https:'
      ? https.request(url, { ...options, agent: this.#agents.https })
      : http.request(url, { ...options, agent: this.#agents.http });
  }

  /** Closes its connections. */
  close(): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }
}

/** gRPC's codes for which the request had no effect; of the others nobody knows. */
const REFUSALS = new Set([3, 5, 6, 7, 8, 9, 11, 12, 16]);

/**
 * Of a body, or of a line of a stream. A refusal is `{"error", "code"}` up to 3.5, `{"code", "message"}` from 3.6 on, and in a stream
 * `{"error": {"grpc_code" or "code", "message"}}`; what a stream gives is `{"result"}`. Every answer has a header.
 */
function read(text: string, status = 0): Attempt {
  let body: EtcdMessage;
  try {
    body = JSON.parse(text);
  } catch {
    // With users enabled it lets in no certificate that names one: the gateway cannot pass that name on.
    if (status === 400) return { kind: 'refused', code: 16, problem: text.trim() };
    return { kind: 'silent', problem: `not etcd's: ${text.slice(0, 100).trim()}`, isSent: true };
  }
  const message = (body['result'] ?? body) as EtcdMessage;
  if (message['header'] !== undefined) return { kind: 'answer', message };
  const { error } = body;
  const nested = typeof error === 'object' ? (error as EtcdMessage) : body;
  const code = Number(nested['code'] ?? nested['grpc_code']);
  const problem = String(nested['message'] ?? error);
  // It gives that code to an overload too, which passes.
  const isPassing = problem.includes('too many requests');
  if (REFUSALS.has(code) && !isPassing) return { kind: 'refused', code, problem };
  return { kind: 'silent', problem, isSent: true };
}

function isTokenProblem({ problem }: { readonly problem: string }): boolean {
  return (
    problem.includes('invalid auth token') || problem.includes('revision of auth store is old')
  );
}
