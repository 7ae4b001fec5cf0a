/**
 * The cluster store on etcd, 3.4 or newer. Entries are the keys PREFIX/entry/KEY, and PREFIX/writer/NAME is this store's own key.
 *
 * A transaction takes effect once, and its outcome is known, whatever happens to its answer: each one is conditional on the writer key
 * as this store left it, and puts its own number there. Sent twice, it fails the second time, and the number tells that the first one
 * was committed. A number that is not there yet is fenced: putting the next one keeps the lost transaction from ever taking effect. The same key shows
 * that another process took this store over, and that etcd came back older than it was (docs/cluster-store.md).
 */

import { Turnstile } from '../lib/turnstile.ts';
import { Fault } from '../model/errors.ts';
import {
  type ClusterStore,
  type Entry,
  type JsonValue,
  type Transaction,
  type TransactionResult,
  type WatchEvent,
  checkTransaction,
} from './cluster-store.ts';
import { type Claim, type Writer, answerOf, isLeaseGone, writerOf } from './etcd-answers.ts';
import { type EtcdAccess, EtcdGateway, type EtcdOutcome } from './etcd-gateway.ts';
import { EtcdMembers } from './etcd-members.ts';
import {
  type EtcdMessage,
  type KeyValue,
  NOTHING,
  type TransactionBody,
  clusterOf,
  endOf,
  entriesIn,
  fromBase64,
  rangesIn,
  revisionOf,
  toBase64,
  writtenAt,
} from './etcd-messages.ts';
import { watchEtcd } from './etcd-watch.ts';

/** Entries of one answer of a list: some 1 MiB of records. */
const LIST_PAGE = 500;
/** A member that a watch runs at and that answers no read for so long is left. */
const PROBE_MS = 2_000;

export type EtcdStoreOptions = {
  readonly access: EtcdAccess;
  /** What keys in etcd begin with. Never shared by two clusters. */
  readonly prefix: string;
  /** Who writes: stays the same over restarts. One process at a time; a second one takes over from the first. */
  readonly writer: string;
  /** Whose entries they are. Another one's are refused. */
  readonly owner: string;
  /** Of the last commit that `remember` was told. An etcd that does not have it any more is refused. */
  readonly rememberedRevision: number;
  /** Called after each commit and before its answer. What it loses makes only the check at the next start coarser. */
  readonly remember: (revision: number) => void;
  /** Called by `close`. */
  readonly onClose?: () => void;
  readonly randomId: () => string;
};

export class EtcdStore implements ClusterStore {
  readonly #options: EtcdStoreOptions;
  readonly #gateway: EtcdGateway;
  readonly #instance: string;
  readonly #writerKey: string;
  readonly #entryPrefix: string;
  readonly #turnstile = new Turnstile();
  readonly members: EtcdMembers;
  #number = 0;
  /** The revision in which this store last put its writer key; 0: it is not there. */
  #writerRevision = 0;
  /** Of a transaction whose outcome is not known. */
  #unsettled: number | undefined;
  /** The highest that etcd told. */
  #revision: number;
  /** What etcd calls its cluster. */
  #cluster: string | undefined;
  /** Why nothing can be written any more. */
  #lost: Fault | undefined;

  private constructor(options: EtcdStoreOptions) {
    this.#options = options;
    this.#gateway = new EtcdGateway(options.access);
    this.members = new EtcdMembers(this.#gateway);
    this.#instance = options.randomId();
    this.#writerKey = toBase64(`${options.prefix}/writer/${options.writer}`);
    this.#entryPrefix = `${options.prefix}/entry/`;
    this.#revision = options.rememberedRevision;
  }

  /**
   * Takes the store over from an earlier process. Throws STORE_WENT_BACK where etcd lost what was committed before, STORE_TAKEN where
   * the entries are another owner's, STORE_UNREACHABLE, STORE_DENIED or STORE_FULL as they say.
   */
  static async open(options: EtcdStoreOptions): Promise<EtcdStore> {
    return await opened(new EtcdStore(options), (store) => store.#claim());
  }

  /** To read alone, beside the process that writes: what it would change is refused with STORE_TAKEN. Throws what `open` does. */
  static async reader(options: EtcdStoreOptions): Promise<EtcdStore> {
    return await opened(new EtcdStore(options), (store) => store.#look());
  }

  /** Deletes all that is under the prefix, this store's own key too. Nothing can be done with the store afterwards. */
  async erase(): Promise<void> {
    await this.#settled();
    const key = `${this.#options.prefix}/`;
    const outcome = await this.#gateway.call('kv/txn', {
      compare: [writtenAt(this.#writerKey, this.#writerRevision)],
      success: [{ request_delete_range: { key: toBase64(key), range_end: endOf(key) } }],
      failure: [{ request_range: { key: this.#writerKey } }],
    });
    const message = answerOf(outcome);
    const [found] = rangesIn(message);
    // An attempt before this one may have done it.
    const isRepeated = outcome.kind === 'answer' && outcome.isRepeated;
    const isDone = message['succeeded'] === true || (isRepeated && found === undefined);
    if (!isDone) throw this.#overtaken(found && writerOf(found));
  }

  async #claim(): Promise<void> {
    this.#writerRevision = await this.#look();
    // Whatever an earlier process has under way is fenced like our own.
    this.#unsettled = 0;
    await this.#settle();
  }

  /** Refuses a store that lost what was committed, or that is another owner's. Returns the revision of the writer key. */
  async #look(): Promise<number> {
    const { prefix, owner, rememberedRevision } = this.#options;
    const key = `${prefix}/writer/`;
    const found = entriesIn(await this.#read({ key: toBase64(key), range_end: endOf(key) }));
    const own = found.find((each) => each.key === this.#writerKey);
    const writer = own && writerOf(own);
    const revision = writer?.revision ?? 0;
    if (revision < rememberedRevision) throw this.#overtaken(writer);
    const other = found.map(writerOf).find(({ claim }) => claim.owner !== owner);
    if (other !== undefined) {
      const problem = `its entries are those of "${other.claim.owner}", and this is "${owner}"`;
      throw new Fault('STORE_TAKEN', { problem });
    }
    return revision;
  }

  async get(key: string): Promise<Entry | undefined> {
    await this.#settled();
    const message = await this.#read({ key: toBase64(this.#entryPrefix + key) });
    return entriesIn(message).map((each) => this.#entryOf(each))[0];
  }

  async list(
    prefix: string,
  ): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    await this.#settled();
    for (;;) {
      const listed = await this.#listOnce(prefix);
      if (listed !== undefined) return listed;
    }
  }

  /** Undefined where etcd compacted the revision between two pages. */
  async #listOnce(prefix: string) {
    const from = this.#entryPrefix + prefix;
    const entries: Entry[] = [];
    const page = { key: toBase64(from), range_end: endOf(from), limit: LIST_PAGE };
    let message = await this.#read(page);
    const revision = revisionOf(message);
    for (;;) {
      entries.push(...entriesIn(message).map((each) => this.#entryOf(each)));
      const last = entries.at(-1);
      if (message['more'] !== true || last === undefined) return { entries, revision };
      const key = toBase64(`${this.#entryPrefix}${last.key}\0`);
      const outcome = await this.#gateway.call('kv/range', { ...page, key, revision });
      if (outcome.kind === 'refused' && outcome.problem.includes('compacted')) return undefined;
      message = answerOf(outcome);
    }
  }

  transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    return this.#turnstile.enter('', async () => {
      await this.#settle();
      return await this.#transact(transaction);
    });
  }

  async #transact(transaction: Transaction): Promise<TransactionResult> {
    const { conditions = [] } = transaction;
    const number = ++this.#number;
    const outcome = await this.#send(number, this.#bodyOf(transaction));
    const isUnknown = outcome.kind === 'silent' ? outcome.isSent : outcome.isRepeated;
    if (isUnknown) this.#unsettled = number;
    const message = answerOf(outcome);
    if (message['succeeded'] === true) return this.#committed(revisionOf(message));
    const [found, ...ranges] = rangesIn(message);
    const writer = found && writerOf(found);
    if (writer?.claim.instance === this.#instance && writer.claim.number === number) {
      return this.#committed(writer.revision);
    }
    if ((writer?.revision ?? 0) !== this.#writerRevision) throw this.#overtaken(writer);
    // An attempt that is still under way could find that the conditions hold, later.
    if (await this.#settle()) return { kind: 'committed', revision: this.#writerRevision };
    const failed = conditions.find(
      ({ version }, index) => Number(ranges[index]?.mod_revision ?? 0) !== version,
    );
    return { kind: 'conflict', key: failed?.key ?? '' };
  }

  #bodyOf({ conditions = [], puts = [], deletes = [] }: Transaction): TransactionBody {
    const keyOf = (key: string): string => toBase64(this.#entryPrefix + key);
    return {
      compare: conditions.map(({ key, version }) => writtenAt(keyOf(key), version)),
      success: [
        ...puts.map(({ key, value, leaseId }) => ({
          request_put: {
            key: keyOf(key),
            value: toBase64(JSON.stringify(value)),
            ...(leaseId === undefined ? {} : { lease: leaseId }),
          },
        })),
        ...deletes.map((key) => ({ request_delete_range: { key: keyOf(key) } })),
      ],
      failure: conditions.map(({ key }) => ({
        request_range: { key: keyOf(key), keys_only: true },
      })),
    };
  }

  /** Puts `number` into the writer key, with all of `body`, if that key is as this store left it. */
  #send(number: number, body: TransactionBody): Promise<EtcdOutcome> {
    if (this.#lost !== undefined) throw this.#lost;
    const { owner } = this.#options;
    const claim: Claim = { owner, instance: this.#instance, number };
    const put = { key: this.#writerKey, value: toBase64(JSON.stringify(claim)) };
    return this.#gateway.call('kv/txn', {
      compare: [writtenAt(this.#writerKey, this.#writerRevision), ...body.compare],
      success: [{ request_put: put }, ...body.success],
      failure: [{ request_range: { key: this.#writerKey } }, ...body.failure],
    });
  }

  /**
   * Makes the outcome of an unsettled transaction known: true where it was committed; where it was not, it never will be. Throws, and
   * leaves it unsettled, where etcd does not answer.
   */
  async #settle(): Promise<boolean> {
    const unsettled = this.#unsettled;
    if (unsettled === undefined) return false;
    const message = answerOf(await this.#send(++this.#number, NOTHING));
    if (message['succeeded'] === true) {
      this.#committed(revisionOf(message));
      return false;
    }
    const [found] = rangesIn(message);
    const writer = found && writerOf(found);
    const isOurs = writer?.claim.instance === this.#instance;
    if (!isOurs || writer.revision <= this.#writerRevision) throw this.#overtaken(writer);
    this.#committed(writer.revision);
    // Another number is that of an earlier attempt to settle.
    return writer.claim.number === unsettled;
  }

  /** What is read after a transaction without an answer shows its outcome, for good. */
  async #settled(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#unsettled !== undefined) await this.#turnstile.enter('', () => this.#settle());
  }

  #committed(revision: number): { readonly kind: 'committed'; readonly revision: number } {
    this.#unsettled = undefined;
    this.#writerRevision = revision;
    this.#revision = Math.max(this.#revision, revision);
    this.#options.remember(revision);
    return { kind: 'committed', revision };
  }

  async *watch(
    prefix: string,
    afterRevision: number,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent> {
    const batches = watchEtcd({
      gateway: this.#gateway,
      prefix: this.#entryPrefix + prefix,
      afterRevision,
      signal,
      probe: (endpoint) => this.#probe(endpoint),
    });
    for await (const events of batches) {
      for (const { type, kv } of events) {
        if (signal.aborted) return;
        const entry = this.#entryOf(kv);
        const revision = entry.version;
        yield type === 'DELETE'
          ? { kind: 'delete', key: entry.key, revision }
          : { kind: 'put', entry, revision };
      }
    }
  }

  /** Etcd counts in seconds, and lets no lease end before one and a half of its election timeouts (1.5 s, unless configured). */
  async grantLease(ttlMs: number): Promise<string> {
    // Ours to choose, so that a second attempt grants the same one.
    const id = String(BigInt(`0x${this.#options.randomId().replaceAll('-', '').slice(0, 15)}`));
    const outcome = await this.#gateway.call('lease/grant', {
      ID: id,
      TTL: String(Math.ceil(ttlMs / 1000)),
    });
    const isThere = outcome.kind === 'refused' && outcome.problem.includes('already exists');
    if (!(isThere && outcome.isRepeated)) answerOf(outcome);
    return id;
  }

  async renewLease(leaseId: string): Promise<boolean> {
    const outcome = await this.#gateway.call('lease/keepalive', { ID: leaseId });
    return Number(answerOf(outcome)['TTL'] ?? 0) > 0;
  }

  async revokeLease(leaseId: string): Promise<void> {
    const outcome = await this.#gateway.call('lease/revoke', { ID: leaseId });
    if (!isLeaseGone(outcome)) answerOf(outcome);
  }

  async close(): Promise<void> {
    this.#gateway.close();
    this.#options.onClose?.();
  }

  /** A linearizable read: it shows all that was committed before it was asked. */
  async #read(range: EtcdMessage): Promise<EtcdMessage> {
    const atLeast = this.#revision;
    const message = answerOf(await this.#gateway.call('kv/range', range));
    this.#check(message, atLeast);
    return message;
  }

  /** Whether the member at `endpoint` answers a linearizable read. */
  async #probe(endpoint: string): Promise<boolean> {
    if (this.#lost !== undefined) throw this.#lost;
    const atLeast = this.#revision;
    const outcome = await this.#gateway.attempt(endpoint, {
      path: 'kv/range',
      message: { key: this.#writerKey },
      timeoutMs: PROBE_MS,
    });
    if (outcome.kind === 'answer') this.#check(outcome.message, atLeast);
    return outcome.kind !== 'silent';
  }

  /** Throws STORE_WENT_BACK, now and from here on, where `message` is of an etcd that has less than it had. */
  #check(message: EtcdMessage, atLeast: number): void {
    const [revision, cluster] = [revisionOf(message), clusterOf(message)];
    this.#cluster ??= cluster;
    if (cluster !== this.#cluster) {
      throw this.#loseTo(
        `${this.#gateway.endpoint} is of another cluster (${cluster}) than the one that answered before (${this.#cluster})`,
      );
    }
    if (revision < atLeast) {
      throw this.#loseTo(`it is at revision ${revision}, and this machine saw ${atLeast}`);
    }
    this.#revision = Math.max(this.#revision, revision);
  }

  /** Why the writer key is not as this store left it. */
  #overtaken(writer: Writer | undefined): Fault {
    const known = Math.max(this.#writerRevision, this.#options.rememberedRevision);
    if (writer === undefined || writer.revision < known) {
      const has = writer === undefined ? 'nothing' : `revision ${writer.revision}`;
      return this.#loseTo(`this machine wrote in revision ${known}, and it has ${has} of that`);
    }
    const problem = `another process of "${writer.claim.owner}" took it over in revision ${writer.revision}`;
    return this.#loseTo(problem, 'STORE_TAKEN');
  }

  #loseTo(problem: string, code: 'STORE_WENT_BACK' | 'STORE_TAKEN' = 'STORE_WENT_BACK'): Fault {
    this.#lost = new Fault(code, { problem });
    return this.#lost;
  }

  #entryOf({ key, value, mod_revision: revision }: KeyValue): Entry {
    return {
      key: fromBase64(key).slice(this.#entryPrefix.length),
      value: value === undefined ? null : (JSON.parse(fromBase64(value)) as JsonValue),
      version: Number(revision),
    };
  }
}

async function opened(
  store: EtcdStore,
  how: (store: EtcdStore) => Promise<unknown>,
): Promise<EtcdStore> {
  await how(store).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  return store;
}
