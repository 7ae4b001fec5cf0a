/**
 * Volumes whose I/O stands still, since too few of their replicas are reached: whatever would write to one waits until they are back. What
 * has to end in time looks here first.
 */

import type { VolumeRecord } from '../model/records.ts';
import { Refusal } from '../model/errors.ts';

/** A replica that restarts is back within that, and no stall is told of. */
const GRACE_MS = 5000;
const LOOK_MS = 500;

export type StallWatch = {
  /** Why I/O on a volume stands still; undefined: it does not. */
  readonly reasonOf: (volume: VolumeRecord) => Promise<string | undefined>;
  readonly sleep: (ms: number) => Promise<unknown>;
};

/** Those of `volumes` whose I/O stands still from now on for all of the grace. Without a stall it does not wait. */
export async function findStalled(
  volumes: readonly VolumeRecord[],
  { reasonOf, sleep }: StallWatch,
): Promise<readonly Refusal[]> {
  let standing: readonly (readonly [VolumeRecord, string])[] = [];
  let left = volumes;
  for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
    const reasons = await Promise.all(
      left.map(async (each) => [each, await reasonOf(each)] as const),
    );
    standing = reasons.flatMap(([each, reason]) => (reason === undefined ? [] : [[each, reason]]));
    left = standing.map(([each]) => each);
    if (left.length === 0 || waitedMs >= GRACE_MS) break;
    await sleep(LOOK_MS);
  }
  return standing.map(([{ name }, reason]) => stalled(name, reason));
}

/** What `work` on a volume resolves with. Throws VOLUME_STALLED, and leaves it to itself, where I/O stands still meanwhile for the grace. */
export async function unlessStalled<Result>(
  volume: VolumeRecord,
  work: Promise<Result>,
  watch: StallWatch,
): Promise<Result> {
  let isOver = false;
  const end = work.finally(() => {
    isOver = true;
  });
  const watched = async (): Promise<Result> => {
    while (!isOver) {
      await watch.sleep(LOOK_MS);
      const [refusal] = isOver ? [] : await findStalled([volume], watch);
      if (refusal !== undefined && !isOver) throw refusal;
    }
    return end;
  };
  return await Promise.race([end, watched()]);
}

const stalled = (volume: string, reason: string): Refusal =>
  new Refusal('VOLUME_STALLED', { volume, reason });
