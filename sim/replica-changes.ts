/** What a head asks of a replica beside changes: marks are dropped, and the set of replicas changes. */

import type { ModelledVolume } from './drive-model.ts';
import type { Life } from './life.ts';
import type { OpenStore } from './store-under-test.ts';

/** Does one of the two, drawn at random; nothing where the volume has one replica. */
export async function changeReplica(
  { machine, process }: Pick<Life, 'machine' | 'process'>,
  store: OpenStore,
  volume: ModelledVolume,
): Promise<void> {
  const { world } = machine;
  const { prng } = world;
  const model = volume.replica;
  if (model === undefined) return;
  const replica = store.openReplica(volume.uuid, () => undefined);
  if (prng.chance(50)) {
    const { epoch, number } = model.droppable;
    const below = Math.max(0, number - prng.below(prng.pick([1, 1, 10])));
    world.trace(`drop marks of volume ${volume.content.id} below ${epoch}, ${below}`);
    replica.dropMarks(epoch, below);
    model.dropped(epoch, below);
    return;
  }
  // Changes that are made meanwhile are of the new epoch already.
  const epoch = ++model.epoch;
  while (model.isSettling) {
    await new Promise<void>((resolve) => {
      world.schedule(100, () => {
        // A dead process waits for ever.
        if (process.io.isDead) return;
        world.askToSettle();
        resolve();
      });
    });
  }
  world.trace(`stamp volume ${volume.content.id} with ${epoch}`);
  const extents = model.stamping();
  await replica.stamp(epoch);
  const seen = prng.bytes(prng.below(100));
  model.keep(seen);
  await replica.keep(seen, replica.sizeBytes);
  model.kept();
  model.stamped(extents, epoch);
}
