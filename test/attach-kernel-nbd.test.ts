/**
 * The attacher over a stock Debian kernel's nbd driver, in a virtual machine under software emulation: a minute, so it runs
 * when asked for (HOLDFAST_VM=1) and not in every `npm test`.
 */

import { spawn } from 'node:child_process';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';

const NBDKIT = '/usr/lib/x86_64-linux-gnu/nbdkit';
const PROGRAMS = [
  '/usr/bin/nbdkit',
  `${NBDKIT}/plugins/nbdkit-file-plugin.so`,
  `${NBDKIT}/filters/nbdkit-exportname-filter.so`,
  '/usr/bin/dd',
];
const SKIPPED = 77;

function whyNot(): string | undefined {
  if (process.env.HOLDFAST_VM !== '1')
    return 'takes a minute in a virtual machine; HOLDFAST_VM=1 runs it';
  const missing = PROGRAMS.filter((program) => !fs.existsSync(program));
  return missing.length === 0 ? undefined : `${missing.join(' and ')} not installed`;
}

const skip = whyNot();

test(
  'kernel nbd and FUSE under a loop device on a stock kernel: engine and attacher may die',
  skip === undefined ? { timeout: 400_000 } : { skip },
  async (t) => {
    const tool = new URL('../tools/kernel-vm', import.meta.url).pathname;
    const child = spawn(tool, ['test/rigs/guest-attach.ts', ...PROGRAMS]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes) => {
        output += String(bytes);
      });
    }
    const [status] = await once(child, 'exit');
    if (status === SKIPPED) {
      t.skip(output.trim());
      return;
    }
    assert.equal(status, 0, output);
    const held = output.split('\n').filter((line) => line.startsWith('holds: '));
    for (const line of held) t.diagnostic(line);
    assert.equal(held.length, 8, output);
  },
);
