/**
 * The tickets that an engine gave over its control connections, until a data connection shows them (docs/peer-protocol.md, "Control
 * connection" and "Keys"). Each is taken once, within 10 s, by who has the keys.
 */

import type { Clock, Random } from '../env/env.ts';
import type { ReplicaId } from '../replication/record.ts';
import { TICKET_BYTES, proofOf } from './keys.ts';
import { hexOf } from './prelude.ts';

const TICKET_MS = 10_000;
/** Of all control connections: far more than heads that start at once. */
const TICKETS_MAX = 1024;

/** What a ticket was given for; `exported` is whoever's that takes it, and is overwritten otherwise. */
export type Grant = {
  readonly replica: ReplicaId;
  readonly sealed: boolean;
  readonly exported: Uint8Array;
};

type Given = Grant & { readonly untilMs: number };

export class Tickets {
  readonly #clock: Pick<Clock, 'bootMs'>;
  readonly #random: Random;
  /** By ticket in hex digits, oldest first. */
  readonly #given = new Map<string, Given>();

  constructor({
    clock,
    random,
  }: {
    readonly clock: Pick<Clock, 'bootMs'>;
    readonly random: Random;
  }) {
    this.#clock = clock;
    this.#random = random;
  }

  /** A fresh ticket, to be the context of what both ends export. Undefined: too many wait to be taken. */
  draw(): Uint8Array | undefined {
    this.#dropOld();
    return this.#given.size < TICKETS_MAX ? this.#random.bytes(TICKET_BYTES) : undefined;
  }

  /** From now on `ticket`, which was drawn, can be taken. */
  give(ticket: Uint8Array, grant: Grant): void {
    this.#given.set(hexOf(ticket), { ...grant, untilMs: this.#clock.bootMs() + TICKET_MS });
  }

  /** Takes a ticket, which is void then, whether the proof is right or not. Undefined: it is not, or the ticket is unknown, used or too old. */
  take(ticket: Uint8Array, proof: Uint8Array): Grant | undefined {
    this.#dropOld();
    const name = hexOf(ticket);
    const given = this.#given.get(name);
    if (given === undefined) return undefined;
    this.#given.delete(name);
    if (isSame(proofOf(given.exported), proof)) return given;
    given.exported.fill(0);
    return undefined;
  }

  #dropOld(): void {
    const now = this.#clock.bootMs();
    for (const [name, { untilMs, exported }] of this.#given) {
      if (untilMs > now) return;
      this.#given.delete(name);
      exported.fill(0);
    }
  }
}

/** Takes as long whatever differs. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (const [index, byte] of a.entries()) difference |= byte ^ (b[index] ?? 0);
  return difference === 0;
}
