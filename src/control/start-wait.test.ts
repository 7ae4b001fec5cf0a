import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { ApiClient } from '../cli/api-client.ts';
import { Fault } from '../model/errors.ts';
import { installationAt, makeDirectories } from './installation.ts';
import { PROGRAM_ROOT, roleWords } from './roles.ts';
import { openWhenReady, readStartWait } from './start-wait.ts';

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-wait-'));
after(() => fs.rmSync(top, { recursive: true }));

function installation(name: string) {
  const made = installationAt(path.join(top, name));
  makeDirectories(made);
  return made;
}

test('a store that does not answer is waited for: said once in the log, and to whoever asks how things are', async () => {
  const { runDirectory, ...rest } = installation('scripted');
  const lines: unknown[] = [];
  const pauses: number[] = [];
  const told: unknown[] = [];
  let tries = 0;
  const opened = await openWhenReady(
    async () => {
      if (++tries === 4) return 'open';
      throw new Fault('STORE_UNREACHABLE', { problem: `connect ECONNREFUSED ::1:${tries}` });
    },
    {
      runDirectory,
      log: (...line) => lines.push(line),
      sleep: async (ms) => {
        pauses.push(ms);
        const asked = new ApiClient([{ runDirectory, ...rest }]).get('/v1/status');
        told.push(await asked.catch((error: unknown) => String(error)));
      },
    },
  );
  assert.equal(opened, 'open');
  assert.equal(lines.length, 1, JSON.stringify(lines));
  assert.equal(told.length, 3);
  assert.match(String(told[2]), /cluster store does not answer: connect ECONNREFUSED ::1:3/);
  assert.ok(
    pauses.every((ms) => ms >= 1000),
    'it does not spin',
  );
  assert.equal(readStartWait(runDirectory), undefined, 'it is over');
});

test('an error that no code names is thrown at once', async () => {
  const { runDirectory } = installation('bug');
  const open = async (): Promise<never> => {
    throw new TypeError('a bug');
  };
  const waits = { runDirectory, log: () => undefined, sleep: async () => assert.fail('it waits') };
  await assert.rejects(openWhenReady(open, waits), /a bug/);
});

test('control with records that cannot be opened says so in one line, and stays', async () => {
  const { directory, runDirectory } = installation('process');
  fs.writeFileSync(path.join(directory, 'store.json'), '{"sqlite":""}');
  const words = roleWords('control', { root: PROGRAM_ROOT, data: directory });
  const control = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    const said: string[] = [];
    control.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
    await until(() => readStartWait(runDirectory)?.code === 'STORE_SETTINGS');
    assert.match(said.join(''), /^[^\n]*control\.waiting[^\n]*store\.json[^\n]*\n$/);
    assert.equal(control.exitCode, null);
  } finally {
    control.kill('SIGKILL');
    await once(control, 'exit');
  }
});

async function until(isSo: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 20_000; !isSo();) {
    assert.ok(performance.now() < deadline, 'it came to pass in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
