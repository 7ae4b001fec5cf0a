/** Lets machines become nodes: who has a token gets a certificate, and all that a node is made of. docs/cluster.md, "Machines that join". */

import { createPublicKey } from 'node:crypto';

import type { ClusterNode } from '../../env/node/node-identity.ts';
import { Refusal } from '../../model/errors.ts';
import type { JoinRecord, NodeRecord } from '../../model/records.ts';
import { type Certified, nodeCertificate } from '../cluster-authority.ts';
import { decideAgain } from '../conflicts.ts';
import { type JoinAnswer, type JoinRequest, joinProblem } from '../join-protocol.ts';
import { portAfter } from '../node-ports.ts';
import { endedOperation } from '../operations.ts';
import type { ControlParts } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { operationPuts } from '../request-keys.ts';
import { storeForNodes } from '../store-handout.ts';
import type { FalseTokens } from './false-tokens.ts';
import { joinTokenId } from './join-tokens.ts';

/** So many nodes, of those that live, have the key of the authority: one may be lost. */
const AUTHORITY_COUNT = 3;
/** Each admission writes it: of two at once one then sees the node that the other has made. */
const ADMISSION_KEY = 'meta/admission';

export class Admission {
  readonly #parts: ControlParts;
  readonly #identity: ClusterNode;
  readonly #authority: Certified;
  readonly #falseTokens: FalseTokens;

  constructor(
    parts: ControlParts,
    given: {
      readonly identity: ClusterNode;
      readonly authority: Certified;
      readonly falseTokens: FalseTokens;
    },
  ) {
    this.#parts = parts;
    this.#identity = given.identity;
    this.#authority = given.authority;
    this.#falseTokens = given.falseTokens;
  }

  /**
   * Makes a node of the machine at `from` that sent `request`. The same request with the same key gets the same node again, as long as its
   * token is on record. Throws INPUT_INVALID, JOIN_REFUSED, JOIN_LIMITED, NODE_EXISTS.
   */
  async admit(request: unknown, from: string): Promise<JoinAnswer> {
    const problem = joinProblem(request);
    if (problem !== undefined) throw new Refusal('INPUT_INVALID', { problem });
    const asked = request as JoinRequest;
    this.#falseTokens.refuse(from);
    const node = await decideAgain(() => this.#record(asked, from));
    const { cluster } = this.#identity;
    const publicKey = createPublicKey(asked.publicKey);
    const name = { cluster, node: node.name };
    return {
      version: 1,
      cluster,
      authority: this.#authority.certificate,
      certificate: nodeCertificate(this.#authority, name, publicKey),
      ...(node.join === undefined ? {} : { authorityKey: this.#authority.key }),
      store: storeForNodes(this.#parts.installation.directory, cluster),
    };
  }

  /** The node on record, once its token is used up for it. */
  async #record(asked: JoinRequest, from: string): Promise<NodeRecord> {
    const { records } = this.#parts;
    const { node: name, publicKey } = asked;
    const refused = (problem: string): Refusal =>
      new Refusal('JOIN_REFUSED', { node: name, problem });
    const token = await records.join(joinTokenId(asked.secret));
    if (token === undefined) {
      this.#falseTokens.note(from);
      throw refused('its token is none of this cluster, or was revoked, or ended days ago');
    }
    const { used, endsAtMs } = token.record;
    if (used !== undefined) {
      const known = used.node === name && used.publicKey === publicKey;
      const record = known ? (await records.node(name))?.record : undefined;
      if (record !== undefined) return record;
      throw refused(
        known
          ? 'it was taken out of the cluster, and its token was used'
          : `its token was used, by node "${used.node}"`,
      );
    }
    if (endsAtMs < this.#parts.wallMs()) {
      throw refused(`its token ended at ${new Date(endsAtMs).toISOString()}`);
    }
    return await this.#make(asked, token);
  }

  async #make(
    { node: name, labels, host, port, publicKey }: JoinRequest,
    token: Kept<JoinRecord>,
  ): Promise<NodeRecord> {
    const { records, wallMs, log } = this.#parts;
    const version = await records.versionOf(ADMISSION_KEY);
    const nodes = await records.nodes();
    if (nodes.some((each) => each.name === name)) throw new Refusal('NODE_EXISTS', { node: name });
    const living = new Set((await records.alive()).map((each) => each.node));
    // One that is down may never come back, and one that has just joined is yet to come.
    const keyed = nodes.filter(
      ({ name: each, join, engine }) =>
        join !== undefined && (living.has(each) || engine.start === 0),
    );
    const hasKey = keyed.length < AUTHORITY_COUNT;
    const peer = { host, port };
    const record: NodeRecord = {
      name,
      labels,
      service: 'open',
      peer,
      ...(hasKey ? { join: portAfter(peer, 'join') } : {}),
      // Its first start tells these.
      bootId: '',
      engine: { instance: '', start: 0 },
      createdAtMs: wallMs(),
    };
    const used = { node: name, publicKey, atMs: wallMs() };
    const tokenKey = `join/${token.record.id}`;
    await records.change({
      conditions: [
        { key: tokenKey, version: token.version },
        { key: `node/${name}`, version: 0 },
        { key: ADMISSION_KEY, version },
      ],
      puts: [
        { key: tokenKey, record: { ...token.record, used } },
        { key: `node/${name}`, record },
        { key: ADMISSION_KEY, record: { node: name } },
        ...operationPuts(endedOperation(this.#parts, 'node.join', `node/${name}`)),
      ],
    });
    log('node.joined', { node: name, host, port });
    return record;
  }
}
