/** Errors as problem details (RFC 9457). */

import type { FastifyError } from 'fastify';

import { Fault, Refusal, errorRow } from '../model/errors.ts';
import type { ProblemView } from './schemas.ts';

/** What went wrong, as RFC 9457 has it. */
export function problemOf(error: Error): ProblemView {
  const known = error instanceof Refusal || error instanceof Fault ? error : invalidOr(error);
  const { http } = errorRow(known.code);
  return {
    type: `https://holdfast.invalid/errors/${known.code}`,
    title: known.code,
    status: http,
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
