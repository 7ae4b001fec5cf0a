/**
 * `npm start [-- --once --yes --data DIR]`: says what it will do, asks once on a terminal, checks space and memory, installs
 * what is missing, and goes on with the tour of the main job (src/tour) on Node 24.
 */

import { existsSync, readFileSync, readdirSync, statSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import {
  TOUR_PACKAGES,
  install as installDebian,
  installProblem,
  missing,
  sizes,
} from './debian-packages.mjs';
import { deviceKind, mountProblem } from './mounting.mjs';
import { HOME, explainEnd, runScript } from './node24.mjs';
import { shellWord } from './shell-word.mjs';
import {
  NPM_DISK_MB,
  NPM_DOWNLOAD_MB,
  install as installNpm,
  isInstalled,
} from './npm-packages.mjs';

const HELP = `npm start [-- OPTIONS]: sets Holdfast up and tours it

  --once       end after the tour instead of running until Ctrl-C
  --yes        do not ask
  --data DIR   where the data goes (default: $HOLDFAST_DATA or ./.holdfast-tour)

Example: npm start -- --once
`;

/** What the three drives (src/tour/tour-main.ts) grow to, measured: 2950, and room for the journal and logs. */
const DATA_MB = 3400;
/** PostgreSQL, three engines, attachers and controls and the tour together, measured: 800, and half as much again. */
const MEMORY_MB = 1200;

async function main() {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      yes: { type: 'boolean', default: false },
      data: { type: 'string', default: process.env.HOLDFAST_DATA ?? join(HOME, '.holdfast-tour') },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const plan = makePlan(resolve(values.data));
  process.stdout.write(`${describe(plan).join('\n')}\n\n`);
  const problem = spaceProblem(plan);
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`);
    return 1;
  }
  if (!values.yes && !(await isAgreed())) return 1;
  if (plan.debian.length > 0) await installDebian(plan.debian);
  if (!plan.isInstalled) await installNpm();
  const args = ['--data', plan.data];
  if (values.once) args.push('--once');
  if (plan.withoutMount !== undefined) args.push('--without-mount');
  return await runScript('src/tour/tour-main.ts', args);
}

function makePlan(data) {
  const debian = missing(TOUR_PACKAGES);
  let withoutMount = mountProblem();
  if (withoutMount === undefined && debian.length > 0 && installProblem() !== undefined) {
    withoutMount = `${debian.join(', ')} not installed, and ${installProblem()}`;
  }
  return {
    data,
    withoutMount,
    debian: withoutMount === undefined ? debian : [],
    isInstalled: isInstalled(),
    hasDrive: hasEntries(join(data, 'nodes', 'a', 'drives')),
    hasRecords: existsSync(join(data, 'state.db')),
  };
}

function hasEntries(folder) {
  return existsSync(folder) && readdirSync(folder).length > 0;
}

function describe(plan) {
  const { data, withoutMount } = plan;
  const title =
    withoutMount === undefined
      ? 'Holdfast: PostgreSQL on a volume with three replicas, while processes and whole nodes of the cluster are killed'
      : `Holdfast, without mounting (${withoutMount}): writers on an NBD socket that verify every block, in place of PostgreSQL, on a volume with three replicas, while processes and whole nodes of the cluster are killed`;
  const packages = [];
  if (!plan.isInstalled) {
    packages.push(
      `npm      npm ci --ignore-scripts (Node 24 among them): ${NPM_DOWNLOAD_MB} MB to load, ${NPM_DISK_MB} MB in ./node_modules`,
    );
  }
  if (plan.debian.length > 0) {
    const { download, disk } = sizes(plan.debian);
    packages.push(
      `Debian   ${plan.debian.join(' ')}: ${download} MB to load, ${disk} MB on disk; no service is started or enabled`,
    );
  }
  const drive = plan.hasDrive
    ? 'the file drives that are there'
    : 'three file drives of at most 4 GiB, which grow as they fill';
  const lines = [title, '', 'This will', ...packages.map((line) => `  install  ${line}`)];
  lines.push(`  write    ${data}: ${drive}, a journal, logs`);
  if (plan.hasRecords) {
    lines.push(
      '  start    the cluster that is there; it ends again before anything is killed or removed if a volume in it that no tour made is attached or is named "tour"',
    );
  }
  if (withoutMount === undefined)
    lines.push('  write    /tmp/holdfast-tour-*: the mount point, while the tour runs');
  lines.push(
    '  listen   on unix sockets, and on ports of 127.0.0.1 for the other nodes, who prove by certificates who they are',
  );
  if (withoutMount === undefined) lines.push(`  use      ${deviceKind()}`);
  lines.push('  take     about a minute and a half, and a gigabyte of memory');
  lines.push(`  undo     bin/holdfast uninstall --data ${shellWord(data)}`);
  return lines;
}

/** What is too small here, or undefined. */
function spaceProblem(plan) {
  const wanted = [
    [plan.data, plan.hasDrive ? 100 : DATA_MB],
    [HOME, plan.isInstalled ? 0 : NPM_DISK_MB],
    ['/usr', plan.debian.length > 0 ? sizes(plan.debian).disk : 0],
  ];
  const byFileSystem = new Map();
  for (const [path, megabytes] of wanted) {
    const folder = nearestFolder(path);
    const { dev } = statSync(folder);
    const known = byFileSystem.get(dev) ?? { folder, megabytes: 0 };
    byFileSystem.set(dev, { folder, megabytes: known.megabytes + megabytes });
  }
  for (const { folder, megabytes } of byFileSystem.values()) {
    const { bavail, bsize } = statfsSync(folder);
    const free = Math.floor((bavail * bsize) / 1e6);
    if (free < megabytes) {
      return `Cannot start: ${megabytes} MB are needed at ${folder}, and ${free} are free. Another place: npm start -- --data DIR`;
    }
  }
  const memory = availableMemoryMb();
  if (memory < MEMORY_MB) {
    return `Cannot start: ${MEMORY_MB} MB of memory are needed, and ${memory} are available`;
  }
  return undefined;
}

function nearestFolder(path) {
  return existsSync(path) ? path : nearestFolder(dirname(path));
}

/** What can be had without swapping: more than what is free, since the page cache gives way. */
function availableMemoryMb() {
  if (process.platform !== 'linux') return Math.floor(freemem() / 1e6);
  const [, kibibytes] = /^MemAvailable:\s*(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  return Math.floor((Number(kibibytes) * 1024) / 1e6);
}

/** Asks on a terminal; without one, calling it is the answer. */
async function isAgreed() {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return true;
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await lines.question('Go on? [Y/n] ');
  lines.close();
  return /^(y(es)?)?$/i.test(answer.trim());
}

process.exitCode = await main().catch(explain);

/** What went wrong, in a line or two, and the exit status. */
function explain(error) {
  if (error.name === 'AbortError') {
    process.stderr.write('\nNothing was changed\n');
    return 130;
  }
  if (String(error.code).startsWith('ERR_PARSE_ARGS')) {
    process.stderr.write(`${error.message}\n\n${HELP}`);
    return 2;
  }
  return explainEnd(error);
}
