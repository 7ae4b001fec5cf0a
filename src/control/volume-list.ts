/** Lists of volumes: selected, in order of name, a page at a time. */

import { matchesLabels } from '../model/labels.ts';
import type { UsageRecord, VolumeRecord } from '../model/records.ts';
import type { RecordsStore } from './records-store.ts';
import { PAGE_COUNT_MAX, type VolumeView } from './schemas.ts';
import { unusedSinceMs, viewVolume } from './views.ts';
import type { Volumes } from './volumes.ts';

export type VolumeSelection = {
  /** {@link PAGE_COUNT_MAX} without it. */
  readonly limit?: number | undefined;
  /** The name that the page before ended with. */
  readonly after?: string | undefined;
  readonly tenant?: string | undefined;
  /** `key=value` or `key`; a volume has all of them. */
  readonly label?: readonly string[] | undefined;
  /** Nobody attached or wrote it for so long. */
  readonly unusedForMs?: number | undefined;
  /** Of each volume these alone: a table shows a third of what is known of 10,000 of them. All without it. */
  readonly field?: readonly (keyof VolumeView)[] | undefined;
};

/** One page of the volumes that are selected; `next`: the `after` of the page behind it, undefined at the end. */
export async function listVolumes(
  parts: {
    readonly records: RecordsStore;
    readonly volumes: Volumes;
    readonly wallMs: () => number;
  },
  selection: VolumeSelection,
): Promise<{ readonly page: Partial<VolumeView>[]; readonly next: string | undefined }> {
  const { records } = parts;
  const nowMs = parts.wallMs();
  const usages = await records.usages();
  const selected = (await records.volumes()).filter((record) =>
    isSelected(record, usages.get(record.id), { selection, nowMs }),
  );
  const { after, limit = PAGE_COUNT_MAX, field } = selection;
  const from = after === undefined ? 0 : selected.findIndex(({ name }) => name > after);
  const page = from < 0 ? [] : selected.slice(from, from + limit);
  const isLast = from < 0 || from + limit >= selected.length;
  const statuses = await parts.volumes.engineStatus(page.map(({ id }) => id));
  const nodes = new Map((await records.nodes()).map((node) => [node.name, node]));
  return {
    page: page.map((record) => {
      const view = viewVolume(record, {
        status: statuses.get(record.id),
        usage: usages.get(record.id),
        node: nodes.get(record.attachment?.node ?? ''),
      });
      return field === undefined ? view : only(view, field);
    }),
    next: isLast ? undefined : page.at(-1)?.name,
  };
}

/** These fields of it alone. */
function only(view: VolumeView, names: readonly (keyof VolumeView)[]): Partial<VolumeView> {
  const part: Partial<VolumeView> = {};
  for (const name of names) copyField(part, view, name);
  return part;
}

/** Objects that are filled in one order are read and written several times as fast as those of Object.fromEntries. */
function copyField<Name extends keyof VolumeView>(
  part: Partial<Pick<VolumeView, Name>>,
  view: Pick<VolumeView, Name>,
  name: Name,
): void {
  part[name] = view[name];
}

function isSelected(
  record: VolumeRecord,
  usage: UsageRecord | undefined,
  { selection, nowMs }: { readonly selection: VolumeSelection; readonly nowMs: number },
): boolean {
  const { tenant, label, unusedForMs } = selection;
  if (tenant !== undefined && record.owner?.tenant !== tenant) return false;
  if (label !== undefined && !matchesLabels(record.labels ?? {}, label)) return false;
  if (unusedForMs === undefined) return true;
  const sinceMs = unusedSinceMs(record, usage);
  return sinceMs !== undefined && sinceMs <= nowMs - unusedForMs;
}

/** A Link header (RFC 8288) to the page that `query` selects. */
export function nextLink(path: string, query: VolumeSelection): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined) words.append(name, String(each));
    }
  }
  return `<${path}?${words.toString()}>; rel="next"`;
}
