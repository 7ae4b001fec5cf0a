/** What a call of etcd came to: our errors, and what the key holds that tells who writes. */

import { Fault, Refusal } from '../model/errors.ts';
import type { EtcdOutcome } from './etcd-gateway.ts';
import { type EtcdMessage, type KeyValue, fromBase64 } from './etcd-messages.ts';

/** What the writer key holds. */
export type Claim = { readonly owner: string; readonly instance: string; readonly number: number };

/** As it was put in `revision`. */
export type Writer = { readonly claim: Claim; readonly revision: number };

/** What etcd says where user, password or rights are at fault. */
const DENIED = [
  'CommonName',
  'permission denied',
  'authentication failed',
  'user name',
  'auth token',
];

/** The answer. Throws STORE_UNREACHABLE, STORE_FULL, STORE_DENIED, STORE_FAILED, or STORE_CONFLICT for a lease that has ended. */
export function answerOf(outcome: EtcdOutcome): EtcdMessage {
  if (outcome.kind === 'answer') return outcome.message;
  if (isLeaseGone(outcome)) throw new Refusal('STORE_CONFLICT', { key: 'lease' });
  const { problem } = outcome;
  if (outcome.kind === 'silent') throw new Fault('STORE_UNREACHABLE', { problem });
  if (problem.includes('space exceeded')) throw new Fault('STORE_FULL', { problem });
  const isDenied = DENIED.some((words) => problem.includes(words));
  throw new Fault(isDenied ? 'STORE_DENIED' : 'STORE_FAILED', { problem });
}

/** Whether etcd said that there is no such lease. */
export function isLeaseGone(outcome: EtcdOutcome): boolean {
  return outcome.kind === 'refused' && outcome.problem.includes('lease not found');
}

/** The writer key's entry. */
export function writerOf({ value, mod_revision: revision }: KeyValue): Writer {
  return { claim: JSON.parse(fromBase64(value)) as Claim, revision: Number(revision) };
}
