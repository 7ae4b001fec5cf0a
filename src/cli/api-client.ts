/**
 * Requests to the REST API of an installation: over its unix socket, or over TCP on loopback with its token. Of a cluster on this machine
 * the first node that is there is asked.
 */

import type { IncomingMessage, RequestOptions } from 'node:http';

import type { Installation } from '../control/installation.ts';
import type { LocalCluster } from '../control/local-cluster.ts';
import type { OperationResultView, OperationView } from '../control/operation-schemas.ts';
import type { ProblemView } from '../control/schemas.ts';
import { readStartWait } from '../control/start-wait.ts';
import { readSupervisor } from '../control/supervisor-state.ts';
import { packageVersion } from '../env/node/package-version.ts';
import { http } from '../env/node/http.ts';
import { type ErrorCode, Refusal, errorRow, isErrorCode } from '../model/errors.ts';

/** What the API answered instead of what was asked for. */
export class ApiProblem extends Error {
  override name = 'ApiProblem';
  readonly problem: Pick<ProblemView, 'code' | 'detail' | 'wayOut'>;

  constructor(problem: ApiProblem['problem']) {
    super(problem.detail);
    this.problem = problem;
  }

  get exitCode(): number {
    const { code } = this.problem;
    return isErrorCode(code) ? errorRow(code satisfies ErrorCode).exit : 1;
  }
}

/** Where the API is, if not on the installation's socket. */
export type TcpTarget = { readonly url: URL; readonly token: string | undefined };

/**
 * Waits for the end of an operation that a request has become. `sent` is the request; `read` asks for an operation again. Resolves with
 * the answer that came instead, or with the operation as it ended.
 */
export type Follow = (
  sent: Promise<Answer>,
  read: (id: string) => Promise<OperationResultView>,
) => Promise<Answer | OperationResultView>;

export type Answer = {
  readonly status: number;
  readonly text: string;
};

type Request = {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly key?: string | undefined;
};

type Sent = Request & { readonly prefer?: string; readonly lastId?: string | undefined };

/** Seconds after which a change is an operation to follow. */
const WAIT_S = 1;
/** Control answers within a second or two, but for changes that take longer: then it is asked whether it answers at all. */
const SILENCE_MS = 10_000;
const PROBE_MS = 5000;
/** After a watch broke off. */
const WATCH_AGAIN_MS = 500;

export class ApiClient {
  readonly #installations: readonly [Installation, ...Installation[]];
  /** What messages name. */
  readonly #dataDir: string;
  readonly #tcp: TcpTarget | undefined;
  readonly #follow: Follow | undefined;

  /**
   * Asks the first of `installations` whose control is there. Without `follow` each request waits for its answer, however long that takes.
   */
  constructor(
    installations: readonly [Installation, ...Installation[]],
    options: {
      readonly tcp?: TcpTarget | undefined;
      readonly follow?: Follow;
      readonly cluster?: LocalCluster | undefined;
    } = {},
  ) {
    this.#installations = installations;
    this.#dataDir = (options.cluster ?? installations[0]).directory;
    this.#tcp = options.tcp;
    this.#follow = options.follow;
  }

  async get<T>(path: string): Promise<T> {
    return parse(await this.#exchange({ method: 'GET', path })) as T;
  }
  /** An answer that is no JSON. */
  async text(path: string): Promise<string> {
    const answer = await this.#exchange({ method: 'GET', path });
    if (answer.status >= 400) parse(answer);
    return answer.text;
  }
  /** With `key` the same request again is carried out once; so have the others that change something. */
  post<T>(path: string, body: object, key?: string): Promise<T> {
    return this.#change<T>({ method: 'POST', path, body, key });
  }
  put<T>(path: string, body: object, key?: string): Promise<T> {
    return this.#change<T>({ method: 'PUT', path, body, key });
  }
  patch<T>(path: string, body: object, key?: string): Promise<T> {
    return this.#change<T>({ method: 'PATCH', path, body, key });
  }
  delete<T>(path: string, key?: string): Promise<T> {
    return this.#change<T>({ method: 'DELETE', path, key });
  }

  /** All of a list that comes in pages. The next one is asked for before one is read: both take as long. */
  async list<T>(path: string): Promise<T[]> {
    const all: T[] = [];
    for (
      let page: Promise<IncomingMessage> | undefined = this.#respond({ method: 'GET', path });
      page !== undefined;
    ) {
      const response: IncomingMessage = await page;
      const next = /<([^>]+)>; rel="next"/.exec(String(response.headers.link ?? ''))?.[1];
      page = next === undefined ? undefined : this.#respond({ method: 'GET', path: next });
      // Nobody waits for it where this one is refused.
      page?.catch(() => undefined);
      all.push(...(parse(await read(response)) as T[]));
    }
    return all;
  }

  /**
   * Follows a watch: `onData` is called with the JSON of each event, in order. Goes on after the last one when the connection breaks
   * off, as it does when control is restarted; rejects where nobody answers at the start.
   */
  async watch(
    path: string,
    options: {
      readonly onOpen?: () => Promise<void>;
      readonly onData: (data: string) => void;
    },
  ): Promise<never> {
    let lastId: string | undefined;
    for (let tries = 0; ; tries++) {
      try {
        const response = await this.#respond({ method: 'GET', path, lastId });
        if (response.statusCode !== 200) parse(await read(response));
        if (tries === 0) await options.onOpen?.();
        let text = '';
        for await (const chunk of response.setEncoding('utf8')) {
          const blocks = (text + String(chunk)).split('\n\n');
          text = blocks.pop() ?? '';
          for (const block of blocks) lastId = tellBlock(block, options.onData) ?? lastId;
        }
      } catch (error) {
        if (tries === 0 || error instanceof ApiProblem) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, WATCH_AGAIN_MS));
    }
  }

  async #change<T>(request: Request): Promise<T> {
    if (this.#follow === undefined) return parse(await this.#exchange(request)) as T;
    const prefer = `respond-async, wait=${WAIT_S}`;
    const ended = await this.#follow(this.#exchange(request, prefer), (id) => this.operation(id));
    return ('text' in ended ? parse(ended) : resultOf(ended)) as T;
  }

  operation(id: string): Promise<OperationResultView> {
    return this.get<OperationResultView>(`/v1/operations/${encodeURIComponent(id)}`);
  }

  async #exchange(request: Request, prefer?: string): Promise<Answer> {
    return read(await this.#respond({ ...request, ...(prefer === undefined ? {} : { prefer }) }));
  }

  /** Nobody has seen a request whose connection was refused: the next node may take it. */
  async #respond(request: Sent): Promise<IncomingMessage> {
    for (const installation of this.#installations) {
      try {
        return await this.#send(request, installation);
      } catch (error) {
        if (!(error instanceof Refusal && error.code === 'INSTALLATION_DOWN')) throw error;
      }
    }
    const waits = this.#installations.map(({ runDirectory }) => readStartWait(runDirectory));
    const [wait] = waits.filter((each) => each !== undefined);
    throw wait ?? new Refusal('INSTALLATION_DOWN', { dataDir: this.#dataDir });
  }

  #send(request: Sent, installation: Installation): Promise<IncomingMessage> {
    const { method, path, body, key, prefer, lastId } = request;
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      'user-agent': `holdfast-cli/${packageVersion()}`,
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(prefer === undefined ? {} : { prefer }),
      ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      ...(this.#tcp?.token === undefined ? {} : { authorization: `Bearer ${this.#tcp.token}` }),
    };
    return new Promise((resolve, reject) => {
      const options = { ...this.#where(installation), method, path, headers, timeout: SILENCE_MS };
      let response: IncomingMessage | undefined;
      const call = http.request(options, (begun) => resolve((response = begun)));
      call.on('timeout', () => {
        void this.#probe(installation).then((answers) => {
          if (answers) call.setTimeout(SILENCE_MS);
          else (response ?? call).destroy(this.#silent(installation));
        });
      });
      call.on('error', (error) =>
        reject(error instanceof Refusal ? error : this.#unreachable(error)),
      );
      call.end(sent);
    });
  }

  #where({ apiSocket }: Installation): RequestOptions {
    if (this.#tcp === undefined) return { socketPath: apiSocket };
    const { hostname, port } = this.#tcp.url;
    return { host: hostname.replaceAll(/^\[|\]$/g, ''), port };
  }

  /** Whether anything is answered at all. */
  #probe(installation: Installation): Promise<boolean> {
    return new Promise((resolve) => {
      const options = { ...this.#where(installation), path: '/', agent: false, timeout: PROBE_MS };
      const call = http.get(options, (response) => {
        response.resume();
        resolve(true);
      });
      call.on('timeout', () => call.destroy());
      call.on('error', () => resolve(false));
      call.on('close', () => resolve(false));
    });
  }

  #silent({ directory: dataDir, runDirectory }: Installation): Refusal {
    const silence = `for ${(SILENCE_MS + PROBE_MS) / 1000} s`;
    if (this.#tcp !== undefined) {
      const problem = `it took the request, and has been silent ${silence}`;
      return new Refusal('API_UNREACHABLE', { url: this.#tcp.url.origin, problem });
    }
    const pid = readSupervisor(runDirectory)?.processes['control']?.pid;
    const what = pid == null ? 'its control' : `its control, process ${pid},`;
    return new Refusal('CONTROL_SILENT', { dataDir, what, silence });
  }

  #unreachable({ message: problem }: Error): Refusal {
    const dataDir = this.#dataDir;
    if (this.#tcp !== undefined) {
      return new Refusal('API_UNREACHABLE', { url: this.#tcp.url.origin, problem });
    }
    if (problem.includes('EACCES')) {
      const way =
        'it belongs to another user; run this as that user, or give your own (--data DIR)';
      return new Refusal('INSTALLATION_FOREIGN', { path: dataDir, problem: way });
    }
    return /ENOENT|ECONNREFUSED/.test(problem)
      ? new Refusal('INSTALLATION_DOWN', { dataDir })
      : new Refusal('CONTROL_UNREACHABLE', { dataDir, problem });
  }
}

async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 500,
    text: Buffer.concat(chunks).toString(),
  };
}

function parse({ status, text }: Answer): unknown {
  const answer: unknown = text === '' ? {} : JSON.parse(text);
  if (status >= 400) throw new ApiProblem(answer as ProblemView);
  return answer;
}

/** What the request of an operation that has ended would have answered. */
export function resultOf({ error, result }: OperationResultView): unknown {
  if (error === null) return result;
  const { code, message: detail, wayOut } = error;
  throw new ApiProblem({ code, detail, ...(wayOut === null ? {} : { wayOut }) });
}

/** The operation in an answer 202; undefined in any other. */
export function operationIn({ status, text }: Answer): OperationView | undefined {
  return status === 202 ? (JSON.parse(text) as OperationView) : undefined;
}

/** Tells the data of one server-sent event; returns its id. Comments have none. */
function tellBlock(block: string, onData: (data: string) => void): string | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
  const data = field('data');
  if (data === undefined) return undefined;
  if (field('event') === 'problem') throw new ApiProblem(JSON.parse(data) as ProblemView);
  onData(data);
  return field('id');
}
