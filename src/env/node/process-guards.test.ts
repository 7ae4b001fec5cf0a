import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const ARENA_BYTES = 33_554_432;

/** Guards change the process for good: each test has its own. Prints {warnings, score, lockedKib}. */
const SCRIPT = `
  const { applyProcessGuards } = await import('./src/env/node/process-guards.ts');
  const { openEnv } = await import('./src/env/node/open-env.ts');
  const { readFileSync } = await import('node:fs');
  const { io } = openEnv({ io: 'auto', memoryBytes: ${ARENA_BYTES} });
  const warnings = applyProcessGuards(io);
  const score = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
  const lockedKib = Number(/VmLck:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  console.log(JSON.stringify({ warnings, score, lockedKib }));
`;

type Applied = { warnings: string[]; score: number; lockedKib: number };

suite('process guards', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  after(() => fs.rmSync(folder, { recursive: true }));
  const script = path.join(folder, 'guards.mjs');
  fs.writeFileSync(script, SCRIPT);
  // A clone may lie where only root may go, such as /root: the unprivileged process gets a copy.
  for (const part of [
    'src/env',
    'src/lib',
    'src/model',
    'node_modules/koffi',
    'node_modules/@koromix',
  ]) {
    fs.cpSync(path.join(ROOT, part), path.join(folder, part), { recursive: true });
  }
  fs.chmodSync(folder, 0o755);

  test('root gets what it asks for, or is told', () => {
    const { warnings, score, lockedKib } = apply([process.execPath, script]);
    const told = warnings.join('\n');
    assert.ok(score === -900 || told.includes('oom_score_adj'), told);
    assert.ok(lockedKib >= ARENA_BYTES / 1024 || told.includes('mlock'), told);
    assert.equal(warnings.length <= 3, true);
  });

  test('without privileges each refusal is one warning', () => {
    const drop =
      'setpriv --reuid 65534 --clear-groups --inh-caps -all --bounding-set -all --no-new-privs';
    const command = `ulimit -l 64; exec ${drop} "$0" "$1"`;
    const { warnings, score, lockedKib } = apply(['bash', '-c', command, process.execPath, script]);
    assert.equal(warnings.length, 3, warnings.join('\n'));
    assert.match(warnings[0]!, /oom_score_adj is refused/);
    assert.match(warnings[1]!, /may be swapped out .*: mlock2 is refused/);
    assert.match(warnings[2]!, /PR_SET_IO_FLUSHER is refused/);
    assert.notEqual(score, -900);
    assert.equal(lockedKib, 0);
  });
});

function apply(command: string[]): Applied {
  return JSON.parse(execFileSync(command[0]!, command.slice(1), { encoding: 'utf8' }));
}
