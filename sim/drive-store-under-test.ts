/** The drive store, as the simulator drives it. */

import type { Env } from '../src/env/env.ts';
import { IoAsync } from '../src/env/io-async.ts';
import { Refusal } from '../src/model/errors.ts';
import { Arena } from '../src/lib/arena.ts';
import { checkDrive } from '../src/store/check.ts';
import { DriveStore } from '../src/store/drive-store.ts';
import type { ListedVolume, OpenStore, StoreUnderTest } from './store-under-test.ts';

export const driveStoreUnderTest: StoreUnderTest = {
  name: 'drive store',
  hasSnapshots: true,
  hasResize: true,
  hasReplicas: true,
  hasLog: true,
  survivesTearing: true,
  format: async (env, { path, geometry }) => {
    const { sizeBytes, ...rest } = geometry;
    const arena = new Arena(env.io.memory);
    await DriveStore.format(env, {
      path,
      arena,
      sizeBytes,
      sparse: true,
      geometry: {
        ...rest,
        chunkCountMax: Math.max(512, Math.ceil(sizeBytes / (geometry.cellsPerChunk * 65_536))),
      },
    });
  },
  open: async (env, { path, arena, limits }) => {
    const store = await DriveStore.open(env, {
      path,
      arena,
      limits: {
        cachePages: limits.pageCachePages,
        logMemoryBlocks: limits.logMemoryBlocks,
        frameBlocksMax: limits.frameBlocksMax,
        firstChunk: limits.firstChunk,
        marksMax: limits.marksMax,
      },
    });
    return facade(store);
  },
  check: async (env, path) => {
    const report = await unlocked(env, () =>
      checkDrive(env, { path, arena: new Arena(env.io.memory), data: true }),
    );
    const wrong = report.findings.filter(
      ({ severity, code }) => severity !== 'note' && !TORN_BY_CUTS.has(code),
    );
    return { findings: wrong.map(({ code, where, what }) => `${code} ${where}: ${what}`) };
  },
};

/** A power cut tears copies that nothing refers to yet. */
const TORN_BY_CUTS: ReadonlySet<string> = new Set([
  'SUPERBLOCK_COPY',
  'DIRECTORY_COPY',
  'PAGE_COPY',
]);

/** A killed process's writes hold the drive's lock until they have ended: who checks tries again. */
async function unlocked<T>(env: Env, attempt: () => Promise<T>): Promise<T> {
  const ioAsync = new IoAsync(env.io);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== 'DRIVE_BUSY') throw error;
      await ioAsync.sleep(1);
    }
  }
}

function facade(store: DriveStore): OpenStore {
  return {
    createVolume: async (options) => void (await store.createVolume(options)),
    deleteVolume: (uuid) => store.deleteVolume(uuid),
    resizeVolume: async (uuid, sizeBytes) => void (await store.resizeVolume(uuid, sizeBytes)),
    snapshot: (uuid) => store.snapshot(uuid),
    deleteSnapshot: (uuid, birth) => store.deleteSnapshot(uuid, birth),
    openTarget: (uuid, onDone) => store.openTarget(uuid, onDone),
    openReplica: (uuid, onDone) => store.openReplica(uuid, onDone),
    life: () => store.life,
    openSnapshot: (uuid, birth, onDone) => store.openSnapshot(uuid, birth, onDone),
    listVolumes: () =>
      store
        .volumes()
        .filter((volume) => volume.state === 'live')
        .map(listed),
    impairment: () => store.status().reason,
    close: () => store.close(),
  };
}

function listed(volume: ReturnType<DriveStore['volumes']>[number]): ListedVolume {
  return { uuid: volume.uuid, sizeBytes: volume.sizeBytes, snapshots: volume.snapshots };
}
