/**
 * A stock Debian kernel's nbd driver, in a virtual machine under software emulation: minutes, so it runs when asked for
 * (HOLDFAST_VM=1) and not in every `npm test`. With a plain server the subject is the attacher, with our engine the two promises.
 */

import { spawn } from 'node:child_process';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import process from 'node:process';
import { type TestContext, test } from 'node:test';

const NBDKIT = '/usr/lib/x86_64-linux-gnu/nbdkit';
const ATTACH_PROGRAMS = [
  '/usr/bin/nbdkit',
  `${NBDKIT}/plugins/nbdkit-file-plugin.so`,
  `${NBDKIT}/filters/nbdkit-exportname-filter.so`,
  '/usr/bin/dd',
];
const ENGINE_PROGRAMS = ['nbd-client', 'mkfs.ext4', 'e2fsck', 'mkfs.xfs', 'xfs_repair'].map(
  (name) => `/usr/sbin/${name}`,
);
/** Quiet machines need a third of it. */
const GUEST_SECONDS_MAX = 400;
const SKIPPED = 77;

type Guest = {
  readonly script: string;
  readonly programs: readonly string[];
  /** How many things the script says that hold. */
  readonly heldCount: number;
};

function optionsOf(programs: readonly string[]): { timeout: number } | { skip: string } {
  if (process.env.HOLDFAST_VM !== '1')
    return { skip: 'takes minutes in a virtual machine; HOLDFAST_VM=1 runs it' };
  const missing = programs.filter((program) => !fs.existsSync(program));
  if (missing.length > 0) return { skip: `${missing.join(' and ')} not installed` };
  return { timeout: (GUEST_SECONDS_MAX + 60) * 1000 };
}

async function runGuest(t: TestContext, guest: Guest): Promise<void> {
  const tool = new URL('../tools/kernel-vm', import.meta.url).pathname;
  const env = { ...process.env, KVM_TIMEOUT: String(GUEST_SECONDS_MAX) };
  const child = spawn(tool, [guest.script, ...guest.programs], { env });
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
  // The first line comes behind what the firmware has left on its own.
  const held = output.split('\n').filter((line) => line.includes('holds: '));
  for (const line of held) t.diagnostic(line.slice(line.indexOf('holds: ')));
  assert.equal(held.length, guest.heldCount, output);
}

test(
  'kernel nbd and FUSE under a loop device on a stock kernel: engine and attacher may die',
  optionsOf(ATTACH_PROGRAMS),
  async (t) => {
    const script = 'test/rigs/guest-attach.ts';
    await runGuest(t, { script, programs: ATTACH_PROGRAMS, heldCount: 10 });
  },
);

test(
  "a stock kernel's nbd client on the engine: kills lose nothing flushed, and under the attacher fail nothing",
  optionsOf(ENGINE_PROGRAMS),
  async (t) => {
    const script = 'test/rigs/guest-engine.ts';
    await runGuest(t, { script, programs: ENGINE_PROGRAMS, heldCount: 12 });
  },
);
