/**
 * Finds Node 24, which Holdfast brings as an npm package, and runs a program with it. Plain JavaScript without
 * dependencies: the files of this folder run on whatever Node there is, 18 and newer.
 */

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The clone that this file is in. */
export const HOME = dirname(dirname(fileURLToPath(import.meta.url)));

/** From 24.15 on node:sqlite prints no warning. */
const NODE_VERSION_MIN = [24, 15];

const FORWARDED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** The path of a Node that can run Holdfast, or undefined. */
export function findNode() {
  const path = join(HOME, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return isNewEnough(process.versions.node) ? process.execPath : undefined;
  }
}

/** Whether `version` ("24.15.0") is one that Holdfast runs on. */
export function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return (
    major > NODE_VERSION_MIN[0] || (major === NODE_VERSION_MIN[0] && minor >= NODE_VERSION_MIN[1])
  );
}

/** Runs `script` (from the clone's root) with Node 24 and resolves with its exit status, 128 + n after signal n. */
export async function runScript(script, args) {
  const node = findNode();
  if (node === undefined) {
    const wanted = NODE_VERSION_MIN.join('.');
    process.stderr.write(
      `holdfast: no Node ${wanted} for ${process.platform}-${process.arch}: install it and try again\n`,
    );
    return 1;
  }
  return await run(node, [join(HOME, script), ...args], {
    env: {
      NODE_COMPILE_CACHE: join(HOME, 'node_modules/.cache/holdfast'),
      ...process.env,
      // Tools whose first line is `env node` are for Node 24 too.
      PATH: [dirname(node), process.env.PATH].join(delimiter),
    },
  });
}

/** Runs a program with this one's terminal, passes signals on, and resolves with its exit status. */
export async function run(program, args, options = {}) {
  const child = spawn(program, args, { stdio: 'inherit', ...options });
  const forward = (signal) => child.kill(signal);
  for (const signal of FORWARDED_SIGNALS) process.on(signal, forward);
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => resolve(code ?? 128 + osConstants.signals[signal]));
    });
  } finally {
    for (const signal of FORWARDED_SIGNALS) process.off(signal, forward);
  }
}

/** The user has asked to stop, or a signal has ended a step of the setup. */
export class Interrupted extends Error {
  name = 'Interrupted';
  /** 128 + n after signal n. */
  exitStatus;

  constructor(exitStatus) {
    super('Stopped');
    this.exitStatus = exitStatus;
  }
}

/** As {@link run}, for a step that others follow: throws {@link Interrupted} where those are no longer wanted, whatever the program made of the signal. */
export async function runStep(program, args, options) {
  let status = 0;
  const note = (signal) => (status = 128 + osConstants.signals[signal]);
  for (const signal of FORWARDED_SIGNALS) process.on(signal, note);
  try {
    const ended = await run(program, args, options);
    if (ended > 128) status ||= ended;
    if (status !== 0) throw new Interrupted(status);
    return ended;
  } finally {
    for (const signal of FORWARDED_SIGNALS) process.off(signal, note);
  }
}

/** Says why a setup could not be done, in a line; returns the exit status. */
export function explainEnd(error) {
  if (error instanceof Interrupted) {
    process.stderr.write('\nStopped; the same command goes on from here\n');
    return error.exitStatus;
  }
  process.stderr.write(`Cannot set up: ${error.message}. The same command goes on from here\n`);
  return 1;
}
