/** Changes of drives, volumes, the trash, operations and events as the API tells them, in order, from any that was told before. */

import type { WatchEvent } from '../metadata/cluster-store.ts';
import { Refusal } from '../model/errors.ts';
import type { EventRecord, OperationRecord } from '../model/records.ts';
import { viewEvent, viewOperation } from './views.ts';

export const CHANGE_KINDS = ['volume', 'drive', 'trash', 'operation', 'event'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];
/** Kinds that are told as they are now, not as they were then. */
export type ShownKind = Exclude<ChangeKind, 'operation' | 'event'>;

export type Change = {
  /** `REVISION.N`: the Nth change of that revision of the store, from 1. */
  readonly id: string;
  readonly kind: ChangeKind;
  /** Of a drive or volume its name, of the others an id. */
  readonly name: string;
  /** What has become of it; null: it is gone. */
  readonly object: object | null;
};

export type ChangePlace = { readonly revision: number; readonly count: number };

/** Where the change of this id was. Throws INPUT_INVALID. */
export function placeOf(id: string): ChangePlace {
  const [, revision, count] = /^(\d{1,15})\.(\d{1,6})$/.exec(id) ?? [];
  if (revision === undefined) {
    throw new Refusal('INPUT_INVALID', { problem: 'Last-Event-ID is none that was sent' });
  }
  return { revision: Number(revision), count: Number(count) };
}

/**
 * The changes in `events`, which begin with the revision of `after`: those up to it are left out. `view` shows a drive, a volume or one in the trash as it
 * is now, null where it is gone.
 */
export async function* changesIn(
  events: AsyncIterable<WatchEvent>,
  options: {
    readonly after: ChangePlace;
    readonly kinds: readonly ChangeKind[];
    readonly view: (kind: ShownKind, name: string) => Promise<object | null>;
  },
): AsyncGenerator<Change> {
  const { after, kinds, view } = options;
  let revision = 0;
  let count = 0;
  for await (const event of events) {
    count = event.revision === revision ? count + 1 : 1;
    revision = event.revision;
    if (revision < after.revision || (revision === after.revision && count <= after.count))
      continue;
    const key = event.kind === 'put' ? event.entry.key : event.key;
    const kind = CHANGE_KINDS.find((each) => key.startsWith(`${each}/`));
    if (kind === undefined || !kinds.includes(kind)) continue;
    const name = key.slice(kind.length + 1);
    const value = event.kind === 'put' ? (event.entry.value as unknown) : undefined;
    // What nobody needs to hear of: old operations and events are dropped by and by.
    if (value === undefined && (kind === 'operation' || kind === 'event')) continue;
    const object =
      value === undefined
        ? null
        : kind === 'operation'
          ? viewOperation(value as OperationRecord, undefined)
          : kind === 'event'
            ? viewEvent(value as EventRecord)
            : await view(kind, name);
    yield { id: `${revision}.${count}`, kind, name, object };
  }
}
