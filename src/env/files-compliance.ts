/** What every maker of `Env.files` must do. Looped over Node's and the simulator's. */

import assert from 'node:assert/strict';
import { suite } from 'node:test';

import {
  EADDRINUSE,
  EAGAIN,
  EBADF,
  EEXIST,
  ENAMETOOLONG,
  ENOENT,
  ErrnoError,
} from '../model/errno.ts';
import { type MakeTrialSetup, checksWith } from './io-trial.ts';

const SIZE_BYTES = 1_048_576;

/** Declares the suite. `makeSetup` is called once for each test. */
export function filesCompliance(name: string, makeSetup: MakeTrialSetup): void {
  const check = checksWith(makeSetup);
  suite(`env.files: ${name}`, () => {
    check('open tells what it opened', async (trial) => {
      const { files } = trial.env;
      const path = trial.path('file');
      const made = await files.open(path, { create: true });
      assert.equal(made.kind, 'file');
      assert.equal(made.sizeBytes, 0);
      await files.allocate(made.fd, { sizeBytes: SIZE_BYTES, sparse: false });
      assert.equal(await files.sizeBytes(made.fd), SIZE_BYTES);
      await files.allocate(made.fd, { sizeBytes: 2 * SIZE_BYTES, sparse: true });
      await files.close(made.fd);
      const opened = await files.open(path, { readOnly: true });
      assert.equal(opened.sizeBytes, 2 * SIZE_BYTES);
      assert.ok([512, 4096].includes(opened.sectorBytes));
      await files.close(opened.fd);
    });

    check('nextData finds what was written, and nothing behind it', async (trial) => {
      const { files } = trial.env;
      const { fd } = await files.open(trial.path('holes'), { create: true });
      await files.allocate(fd, { sizeBytes: SIZE_BYTES, sparse: true });
      trial.bytes.fill(5, 0, 4096);
      assert.equal(await trial.write(fd, SIZE_BYTES / 2, 0, 4096), 4096);
      const found = await files.nextData(fd, 0);
      assert.ok(found !== undefined && found.fromBytes <= SIZE_BYTES / 2);
      assert.ok(found.toBytes >= SIZE_BYTES / 2 + 4096);
      assert.equal(await files.nextData(fd, SIZE_BYTES), undefined);
      await files.close(fd);
    });

    check('open refuses by errno', async (trial) => {
      const { files } = trial.env;
      await refuses(ENOENT, files.open(trial.path('none'), {}));
      await refuses(ENOENT, files.open(trial.path('none'), { exclusive: true }));
      const { fd } = await files.open(trial.path('there'), { create: true });
      await refuses(EEXIST, files.open(trial.path('there'), { create: true }));
      await files.close(fd);
      await refuses(EBADF, files.close(fd));
    });

    check('exclusive keeps a second one out until the first closes', async (trial) => {
      const { files } = trial.env;
      const path = trial.path('mine');
      const { fd } = await files.open(path, { create: true, exclusive: true });
      await refuses(EAGAIN, files.open(path, { exclusive: true }));
      const reader = await files.open(path, { readOnly: true });
      await files.close(reader.fd);
      await files.close(fd);
      const again = await files.open(path, { exclusive: true });
      await files.close(again.fd);
    });

    check('remove removes', async (trial) => {
      const { files } = trial.env;
      const { fd } = await files.open(trial.path('gone'), { create: true });
      await files.close(fd);
      await files.remove(trial.path('gone'));
      await refuses(ENOENT, files.remove(trial.path('gone')));
      await refuses(ENOENT, files.open(trial.path('gone'), {}));
    });

    check('listen refuses a path that is taken', async (trial) => {
      const { files } = trial.env;
      const path = trial.path('socket');
      const listener = await files.listen(path);
      await refuses(EADDRINUSE, files.listen(path));
      assert.equal(await trial.close(listener), 0);
      const { fd } = await files.open(trial.path('file'), { create: true });
      await refuses(EADDRINUSE, files.listen(trial.path('file')));
      await files.close(fd);
      await refuses(ENAMETOOLONG, files.listen(trial.path('x'.repeat(120))));
    });

    check('listen replaces a socket that nobody listens on', async (trial) => {
      const { files } = trial.env;
      const path = trial.path('socket');
      const stale = await files.listen(path);
      assert.equal(await trial.close(stale), 0);
      const listener = await files.listen(path);
      const [server, client] = await Promise.all([trial.accept(listener), trial.connect(path)]);
      for (const fd of [server, client, listener]) assert.equal(await trial.close(fd), 0);
    });
  });
}

async function refuses(errno: number, refused: Promise<unknown>): Promise<void> {
  await assert.rejects(refused, (error) => error instanceof ErrnoError && error.errno === errno);
}
