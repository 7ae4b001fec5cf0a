import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { processesOfProc, processesOfPs } from './processes.ts';

const hasPs = spawnSync('ps', ['-o', 'pid=']).status === 0;

for (const [name, processes, there] of [
  ['/proc', processesOfProc, existsSync('/proc/self/stat')],
  ['ps', processesOfPs, hasPs],
] as const) {
  test(
    `${name} tells a process that runs by its start and words, and nothing of one that ended`,
    there ? {} : { skip: `no ${name} here` },
    async () => {
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'a-word'], {
        stdio: 'ignore',
      });
      const pid = child.pid ?? assert.fail();
      await once(child, 'spawn');
      const start = processes.startOf(pid);
      assert.ok(start !== undefined && start > 0, String(start));
      assert.equal(processes.startOf(pid), start, 'it is the same as long as it runs');
      assert.ok(processes.wordsOf(pid).includes('a-word'));
      assert.ok(processes.pids().includes(pid));
      assert.equal(processes.parentOf(pid), process.pid);
      child.kill('SIGKILL');
      await once(child, 'exit');
      assert.equal(processes.startOf(pid), undefined);
      assert.equal(processes.parentOf(pid), undefined);
      assert.deepEqual(processes.wordsOf(pid), []);
      assert.ok(!processes.pids().includes(pid));
    },
  );
}
