/** Errors as problem details (RFC 9457), wherever in the request's way they come up. */

import type { Duplex } from 'node:stream';

import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';

import { http } from '../env/node/http.ts';
import { Fault, Refusal, errorRow } from '../model/errors.ts';
import { refusalOfInput } from './invalid-input.ts';
import type { ProblemView } from './schemas.ts';

const TYPE = 'application/problem+json';

/** What went wrong, as RFC 9457 has it. `request`: the one that did not fit its schema, if that is it. */
export function problemOf(error: Error, request?: FastifyRequest): ProblemView {
  const isKnown = error instanceof Refusal || error instanceof Fault;
  const input = request === undefined ? undefined : refusalOfInput(error, request);
  const known = isKnown ? error : (input ?? invalidOr(error));
  const { http: status } = errorRow(known.code);
  return {
    type: `https://holdfast.invalid/errors/${known.code}`,
    title: known.code,
    status,
    code: known.code,
    detail: known.message,
    ...(known.wayOut === undefined ? {} : { wayOut: known.wayOut }),
  };
}

function invalidOr(error: Error): Refusal | Fault {
  const { statusCode } = error as Partial<FastifyError>;
  if (statusCode !== undefined && statusCode < 500) {
    return new Refusal('INPUT_INVALID', { problem: error.message });
  }
  return new Fault('INTERNAL', { problem: error.message });
}

/** Answers a request that came as far as a route, or found none. */
export function sendProblem(reply: FastifyReply, problem: ProblemView): FastifyReply {
  return reply.code(problem.status).type(TYPE).send(problem);
}

/** Answers one that no route sees, such as a URL that cannot be decoded. */
export function sendRawProblem(reply: FastifyReply, error: Error): void {
  const problem = problemOf(error);
  reply.hijack();
  reply.raw.writeHead(problem.status, { 'content-type': TYPE });
  reply.raw.end(JSON.stringify(problem));
}

/** Answers what is no HTTP, or has a method that HTTP does not know, and ends the connection. */
export function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(new Refusal('INPUT_INVALID', { problem: error.message }));
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${http.STATUS_CODES[problem.status]}`,
    `content-type: ${TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
