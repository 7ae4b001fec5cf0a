/** Programs on block devices. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { runReportingProgram } from './run-program.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-run-program-'));
after(() => fs.rmSync(folder, { recursive: true }));

test('what it says on the way and in the end is heard, and how it ended', async () => {
  const lines: string[] = [];
  const script = 'echo 1 >&3; echo 2 >&3; echo out; echo err >&2; exit 3';
  const result = await runReportingProgram('sh', ['-c', script], (line) => lines.push(line));
  assert.deepEqual(lines, ['1', '2']);
  assert.equal(result.kind === 'ended' && result.status, 3);
  assert.deepEqual((result.kind === 'ended' ? result.output : '').split('\n').toSorted(), [
    'err',
    'out',
  ]);
  const none = await runReportingProgram('no-such-program', [], () => undefined);
  assert.deepEqual(none, { kind: 'missing' });
});

test('one that outlives its control comes to its end, though it says something more', async () => {
  const ended = path.join(folder, 'ended');
  const script = `echo 1 >&3; sleep 1; echo 2 >&3; echo whole >'${ended}'`;
  const program = path.join(folder, 'control.ts');
  const words = `'sh', ['-c', ${JSON.stringify(script)}], () => process.stdout.write('said')`;
  const module = JSON.stringify(path.join(import.meta.dirname, 'run-program.ts'));
  fs.writeFileSync(
    program,
    `import { runReportingProgram } from ${module};\nawait runReportingProgram(${words});\n`,
  );
  const control = spawn(process.execPath, [program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(control.stdout, 'data');
  control.kill('SIGKILL');
  const size = (): number => fs.statSync(ended, { throwIfNoEntry: false })?.size ?? 0;
  for (let tries = 0; tries < 200 && size() === 0; tries++) await sleep(50);
  assert.equal(fs.readFileSync(ended, 'utf8'), 'whole\n');
});
