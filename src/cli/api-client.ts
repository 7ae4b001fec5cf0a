/** Requests to the REST API of an installation, over its unix socket. */

import http from 'node:http';

import type { ProblemView } from '../control/schemas.ts';
import { packageVersion } from '../env/node/package-version.ts';
import { type ErrorCode, Refusal, errorRow, isErrorCode } from '../model/errors.ts';
import type { Installation } from '../control/installation.ts';

/** What the API answered instead of what was asked for. */
export class ApiProblem extends Error {
  override name = 'ApiProblem';
  readonly problem: ProblemView;

  constructor(problem: ProblemView) {
    super(problem.detail);
    this.problem = problem;
  }

  get exitCode(): number {
    const { code } = this.problem;
    return isErrorCode(code) ? errorRow(code satisfies ErrorCode).exit : 1;
  }
}

/** After a watch broke off. */
const WATCH_AGAIN_MS = 500;

export class ApiClient {
  readonly #installation: Installation;

  constructor(installation: Installation) {
    this.#installation = installation;
  }

  get<T>(path: string): Promise<T> {
    return this.#request<T>('GET', path, undefined);
  }
  post<T>(path: string, body: object): Promise<T> {
    return this.#request<T>('POST', path, body);
  }
  put<T>(path: string, body: object): Promise<T> {
    return this.#request<T>('PUT', path, body);
  }
  patch<T>(path: string, body: object): Promise<T> {
    return this.#request<T>('PATCH', path, body);
  }
  /** With `key` the same request again is carried out once. */
  delete<T>(path: string, key?: string): Promise<T> {
    return this.#request<T>('DELETE', path, undefined, key);
  }

  /** All of a list that comes in pages. */
  async list<T>(path: string): Promise<T[]> {
    const all: T[] = [];
    for (let next: string | undefined = path; next !== undefined;) {
      const { status, text, link } = await this.#exchange('GET', next, undefined);
      const page: unknown = JSON.parse(text);
      if (status >= 400) throw new ApiProblem(page as ProblemView);
      all.push(...(page as T[]));
      next = /<([^>]+)>; rel="next"/.exec(link)?.[1];
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
        const response = await this.#open(path, lastId);
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

  /** A response whose body is still to come. Rejects with what the API answers instead. */
  #open(path: string, lastId: string | undefined): Promise<http.IncomingMessage> {
    const headers = {
      'user-agent': `holdfast-cli/${packageVersion()}`,
      ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
    };
    const { apiSocket } = this.#installation;
    return new Promise((resolve, reject) => {
      const request = http.get({ socketPath: apiSocket, path, headers }, (response) => {
        if (response.statusCode === 200) {
          resolve(response);
          return;
        }
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          reject(new ApiProblem(JSON.parse(Buffer.concat(chunks).toString()) as ProblemView)),
        );
      });
      request.on('error', (error) => reject(this.#whyNot(error)));
    });
  }

  async #request<T>(
    method: string,
    path: string,
    body: object | undefined,
    key?: string,
  ): Promise<T> {
    const { status, text } = await this.#exchange(method, path, body, key);
    const answer: unknown = text === '' ? {} : JSON.parse(text);
    if (status >= 400) throw new ApiProblem(answer as ProblemView);
    return answer as T;
  }

  #exchange(
    method: string,
    path: string,
    body: object | undefined,
    key?: string,
  ): Promise<{ status: number; text: string; link: string }> {
    const { apiSocket } = this.#installation;
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      'user-agent': `holdfast-cli/${packageVersion()}`,
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    };
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath: apiSocket, method, path, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 500,
            text: Buffer.concat(chunks).toString(),
            link: String(response.headers.link ?? ''),
          }),
        );
        response.on('error', reject);
      });
      request.on('error', (error) => reject(this.#whyNot(error)));
      request.end(sent);
    });
  }

  #whyNot({ message: problem }: Error): Refusal {
    const { directory } = this.#installation;
    if (problem.includes('EACCES')) {
      return new Refusal('INSTALLATION_FOREIGN', {
        path: directory,
        problem: 'it belongs to another user; run this as that user, or give your own (--data DIR)',
      });
    }
    const isDown = /ENOENT|ECONNREFUSED/.test(problem);
    return isDown
      ? new Refusal('INSTALLATION_DOWN', { dataDir: directory })
      : new Refusal('CONTROL_UNREACHABLE', { dataDir: directory, problem });
  }
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
