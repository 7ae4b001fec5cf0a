/** Calls a volume plugin as Docker or Podman do. */

import http from 'node:http';

import { Refusal } from '../../src/model/errors.ts';

export type PluginAnswer = {
  readonly status: number;
  readonly mediaType: string;
  readonly body: Readonly<Record<string, unknown>>;
};

/** As moby's plugin client does: no content type, and an empty Host. */
export const AS_DOCKER: Readonly<Record<string, string>> = {
  host: '',
  accept: 'application/vnd.docker.plugins.v1.2+json',
};
/** As libpod's does. */
export const AS_PODMAN: Readonly<Record<string, string>> = {
  host: 'plugin',
  'content-type': 'application/vnd.docker.plugins.v1.1+json',
};

export class PluginClient {
  readonly #socketPath: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(socketPath: string, headers: Readonly<Record<string, string>> = AS_DOCKER) {
    this.#socketPath = socketPath;
    this.#headers = headers;
  }

  /** One request. `content` is JSON, or text that is sent as it is. Throws CONTROL_UNREACHABLE where no answer comes. */
  post(call: string, content: object | string = ''): Promise<PluginAnswer> {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    return new Promise((resolve, reject) => {
      const options = {
        socketPath: this.#socketPath,
        path: `/${call}`,
        method: 'POST',
        headers: { ...this.#headers, 'content-length': String(Buffer.byteLength(text)) },
      };
      const fail = ({ message }: Error): void =>
        reject(new Refusal('CONTROL_UNREACHABLE', { dataDir: this.#socketPath, problem: message }));
      const request = http.request(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () => {
          const body: PluginAnswer['body'] = JSON.parse(Buffer.concat(chunks).toString());
          const mediaType = response.headers['content-type'] ?? '';
          resolve({ status: response.statusCode ?? 0, mediaType, body });
        });
      });
      request.on('error', fail);
      request.end(text);
    });
  }

  /** A call that must succeed. */
  async call(call: string, content: object = {}): Promise<PluginAnswer['body']> {
    const { status, body } = await this.post(`VolumeDriver.${call}`, content);
    if (status !== 200 || body['Err'] !== '') throw new Error(`${call}: ${String(body['Err'])}`);
    return body;
  }

  /** A call that must be refused; resolves with what is said. */
  async refused(call: string, content: object | string): Promise<string> {
    const { status, body } = await this.post(`VolumeDriver.${call}`, content);
    const { Err } = body;
    if (status !== 500 || typeof Err !== 'string' || Err === '') {
      throw new Error(`${call} was not refused: ${status} ${JSON.stringify(body)}`);
    }
    return Err;
  }
}
