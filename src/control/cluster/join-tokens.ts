/** Join tokens, as records: what a machine must show to become a node. Their secrets are known to who asked for them alone. */

import { createHash } from 'node:crypto';
import fs from 'node:fs';

import { type ClusterNode, tlsFilesOf } from '../../env/node/node-identity.ts';
import { formatTcpAddress } from '../../env/tcp-address.ts';
import { Refusal } from '../../model/errors.ts';
import type { JoinRecord } from '../../model/records.ts';
import { authorityHash } from '../cluster-authority.ts';
import { decideAgain } from '../conflicts.ts';
import type { JoinPlaceView, JoinTokenView } from '../node-schemas.ts';
import { endedOperation } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import { operationPuts } from '../request-keys.ts';

/** How long a token can be used. */
const TOKEN_MS = 24 * 3_600_000;
/** One that has ended is told of for so long. */
const ENDED_MS = 24 * 3_600_000;

/** Names a token on record: the first 128 bits of the SHA-256 of its secret (hex), in hex. */
export const joinTokenId = (secret: string): string =>
  createHash('sha256').update(secret).digest('hex').slice(0, 32);

export class JoinTokens {
  readonly #parts: ControlParts;
  readonly #identity: ClusterNode | undefined;

  /** `identity`: undefined on a single machine, which nobody can join. */
  constructor(parts: ControlParts, identity: ClusterNode | undefined) {
    this.#parts = parts;
    this.#identity = identity;
  }

  /** The newest first. */
  async list(): Promise<JoinTokenView[]> {
    const joins = await this.#parts.records.joins();
    const nowMs = this.#parts.wallMs();
    return joins
      .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
      .map((join) => viewOf(join, nowMs));
  }

  /**
   * Has the secret of which `id` is the hash let one machine in, for a day, and says what that must know besides. The same again changes
   * nothing. Throws JOIN_NOT_TAKEN where no node takes joins.
   */
  async make(id: string): Promise<JoinPlaceView> {
    const { records, installation, wallMs } = this.#parts;
    const addresses = await this.#addresses();
    const { directory } = installation;
    const authority = authorityHash(fs.readFileSync(tlsFilesOf(directory).authority, 'utf8'));
    const record = await decideAgain(async () => {
      const known = await records.join(id);
      if (known !== undefined) return known.record;
      const createdAtMs = wallMs();
      const made: JoinRecord = { id, createdAtMs, endsAtMs: createdAtMs + TOKEN_MS };
      const key = `join/${id}`;
      const puts = operationPuts(endedOperation(this.#parts, 'join-token.make', key));
      await records.change({
        conditions: [{ key, version: 0 }],
        puts: [{ key, record: made }, ...puts],
      });
      return made;
    });
    await this.#trim();
    const view = viewOf(record, wallMs());
    return { ...view, cluster: this.#identity?.cluster ?? '', authority, addresses };
  }

  async #addresses(): Promise<string[]> {
    const refused = (problem: string): Refusal => new Refusal('JOIN_NOT_TAKEN', { problem });
    if (this.#identity === undefined) {
      throw refused('this is a single machine. holdfast cluster init makes a cluster');
    }
    const nodes = await this.#parts.records.nodes();
    const addresses = nodes.flatMap(({ join }) => (join === undefined ? [] : [join]));
    if (addresses.length > 0) return addresses.map(formatTcpAddress);
    throw refused('no node of this cluster has the key of its authority');
  }

  /** False where there is none, or none any more. The node that it made stays. */
  revoke(id: string): Promise<boolean> {
    const { records } = this.#parts;
    return decideAgain(async () => {
      const kept = await records.join(id);
      if (kept === undefined) return false;
      const key = `join/${id}`;
      await records.change({
        conditions: [{ key, version: kept.version }],
        puts: operationPuts(endedOperation(this.#parts, 'join-token.revoke', key)),
        deletes: [key],
      });
      return true;
    });
  }

  async #trim(): Promise<void> {
    const { records, wallMs } = this.#parts;
    const old = (await records.joins()).filter(({ endsAtMs }) => endsAtMs + ENDED_MS < wallMs());
    await records.changeEach({ deletes: old.map(({ id }) => `join/${id}`) });
  }
}

function viewOf({ id, createdAtMs, endsAtMs, used }: JoinRecord, nowMs: number): JoinTokenView {
  return {
    id,
    state: used !== undefined ? 'used' : endsAtMs < nowMs ? 'ended' : 'valid',
    node: used?.node ?? null,
    createdAt: new Date(createdAtMs).toISOString(),
    endsAt: new Date(endsAtMs).toISOString(),
  };
}
