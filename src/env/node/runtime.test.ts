/** What the compliance suite cannot ask of a simulator: signals, idle CPU, stale sockets, modes, fork. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';

import { EADDRINUSE, EISDIR, ENOTBLK, ENOSPC, ErrnoError } from '../../model/errno.ts';
import { Trial } from '../io-trial.ts';
import { openEnv } from './open-env.ts';
import { realSetups } from './trial-setup.ts';

const MEMORY_BYTES = 1_048_576;
const HANG_MS = 60_000;
/** Over two seconds of waiting; 1 % would be 20 ms. */
const IDLE_MS = 2000;
const IDLE_CPU_US_MAX = 20_000;

type Check = (title: string, body: (trial: Trial) => Promise<void>) => void;

for (const kind of ['io_uring', 'node'] as const) {
  const check: Check = (title, body) => {
    test(title, { timeout: HANG_MS }, async () => {
      const setup = await realSetups({ io: kind, memoryBytes: MEMORY_BYTES })();
      try {
        await new Trial(setup).run(body);
      } finally {
        await setup.cleanUp();
      }
    });
  };
  suite(`a real machine with ${kind}`, () => {
    check('a signal reaches its handler while the reactor waits', async (trial) => {
      const heard = Promise.withResolvers<void>();
      process.once('SIGHUP', heard.resolve);
      const sleeping = trial.sleep(60_000);
      // From outside, as a supervisor does, and after the reactor began to wait.
      const child = spawn('sh', ['-c', `sleep 0.1; kill -HUP ${process.pid}`]);
      await heard.promise;
      assert.ok(child.pid !== undefined);
      trial.io.cancelTimer(trial.port, trial.indexNext - 1);
      await sleeping;
    });

    check('a signal that comes while callbacks run is not lost', async (trial) => {
      const heard = Promise.withResolvers<void>();
      process.once('SIGHUP', heard.resolve);
      const { io } = trial;
      const port = io.port(() => {
        process.kill(process.pid, 'SIGHUP');
        // No yieldTurn: the reactor goes on to wait with nothing in flight.
      });
      io.timer(port, 0, 1);
      await heard.promise;
    });

    check("results of Node's thread pool wake the reactor", async () => {
      // If only the idle tick woke it, this would take 100 s and meet the hang guard.
      for (let round = 0; round < 100; round += 1) {
        const text = await fs.promises.readFile('/proc/self/stat', 'utf8');
        assert.ok(text.length > 0);
      }
    });

    check("Node's own timers work, if late", async () => {
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    });

    check('waiting costs no CPU', async (trial) => {
      const { listener, client, server } = await trial.connection('unix');
      const receiving = trial.receive(server, 0, 100);
      const accepting = trial.accept(listener);
      // Until the just-in-time compiler and the collector have calmed down.
      await trial.sleep(500);
      const before = process.cpuUsage();
      await trial.sleep(IDLE_MS);
      const { user, system } = process.cpuUsage(before);
      assert.ok(user + system < IDLE_CPU_US_MAX, `${user + system} us in ${IDLE_MS} ms`);
      for (const fd of [server, client, listener]) await trial.close(fd);
      await Promise.all([receiving, accepting]);
    });

    check('open refuses what is no drive', async (trial) => {
      const { files } = trial.env;
      await refuses(EISDIR, files.open(os.tmpdir(), { readOnly: true }));
      await refuses(EISDIR, files.open(os.tmpdir(), {}));
      await refuses(EISDIR, files.open(os.tmpdir(), { readOnly: true, direct: true }));
      await refuses(ENOTBLK, files.open('/dev/null', {}));
      await refuses(ENOTBLK, files.open('/dev/null', { direct: true, exclusive: true }));
    });

    check('direct I/O works on the arena', async (trial) => {
      const file = await trial.env.files.open(trial.path('direct'), {
        create: true,
        direct: true,
        exclusive: true,
      });
      await trial.env.files.allocate(file.fd, { sizeBytes: 65_536, sparse: false });
      trial.bytes.fill(9, 4096, 12_288);
      const segments = Uint32Array.of(8192, 4096, 4096, 4096);
      const written = trial.do((port, index) =>
        trial.io.writev(port, index, file.fd, 4096, segments, 0, 2),
      );
      assert.equal(await written, 8192);
      assert.equal(await trial.read(file.fd, 4096, 16_384, 8192), 8192);
      assert.ok(trial.bytes.subarray(16_384, 24_576).every((byte) => byte === 9));
      assert.equal(await trial.close(file.fd), 0);
    });

    check('allocate reserves space, or leaves the size as it was', async (trial) => {
      const { files } = trial.env;
      const { fd } = await files.open(trial.path('big'), { create: true });
      await files.allocate(fd, { sizeBytes: 1_048_576, sparse: false });
      assert.ok(fs.fstatSync(fd).blocks * 512 >= 1_048_576);
      const { bavail, bsize } = fs.statfsSync(trial.path(''));
      const tooLarge = bavail * bsize + 2 ** 40;
      if (tooLarge < 2 ** 43)
        await refuses(ENOSPC, files.allocate(fd, { sizeBytes: tooLarge, sparse: false }));
      assert.equal(await files.sizeBytes(fd), 1_048_576);
      await files.close(fd);
    });

    check('a socket is for its owner alone, and a dead one is replaced', async (trial) => {
      const socket = trial.path('socket');
      const code = `require('node:net').createServer().listen(process.argv[1], () => console.log())`;
      const child = spawn(process.execPath, ['-e', code, socket]);
      await new Promise((resolve) => {
        child.stdout.once('data', resolve);
      });
      await refuses(EADDRINUSE, trial.env.files.listen(socket));
      child.kill('SIGKILL');
      await new Promise((resolve) => {
        child.once('exit', resolve);
      });
      assert.ok(fs.existsSync(socket), 'the dead one left its socket');
      const listener = await trial.env.files.listen(socket);
      assert.equal(fs.statSync(socket).mode & 0o777, 0o600);
      assert.equal(await trial.close(listener), 0);
    });

    test('the reactor can be stopped and run again', { timeout: HANG_MS }, async () => {
      const { io } = openEnv({ io: kind, memoryBytes: 65_536 });
      const heard: number[] = [];
      const port = io.port((index) => {
        heard.push(index);
        io.stop();
      });
      io.timer(port, 1, 20);
      io.timer(port, 2, 40);
      await io.run();
      assert.deepEqual(heard, [1]);
      await io.run();
      assert.deepEqual(heard, [1, 2]);
    });
  });
}

suite('which maker', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  after(() => fs.rmSync(folder, { recursive: true }));

  test('auto takes io_uring where it works', () => {
    assert.deepEqual(openEnv({ io: 'auto', memoryBytes: 65_536 }).ioChoice, { kind: 'io_uring' });
  });

  test('auto says why it took Node where io_uring is refused', () => {
    // No descriptors left for a ring: what a seccomp profile does with EPERM, by means that every machine has.
    const script = path.join(folder, 'refused.ts');
    const code = [
      `import fs from 'node:fs';`,
      `import { openFfi } from '${path.resolve(import.meta.dirname, '../ffi.ts')}';`,
      `import { openEnv } from '${path.resolve(import.meta.dirname, 'open-env.ts')}';`,
      `openFfi();`,
      `const taken = [];`,
      `try { for (;;) taken.push(fs.openSync('/dev/null')); } catch {}`,
      `const { ioChoice } = openEnv({ io: 'auto', memoryBytes: 65536 });`,
      `for (const fd of taken) fs.closeSync(fd);`,
      `console.log(JSON.stringify(ioChoice));`,
    ];
    fs.writeFileSync(script, code.join('\n'));
    const command = `ulimit -n 100; exec "$0" "$1"`;
    const text = execFileSync('bash', ['-c', command, process.execPath, script], {
      encoding: 'utf8',
    });
    assert.match(text, /^\{"kind":"node","reason":"io_uring_setup is refused: errno 24"\}\n$/);
  });
});

async function refuses(errno: number, refused: Promise<unknown>): Promise<void> {
  await assert.rejects(refused, (error) => error instanceof ErrnoError && error.errno === errno);
}
