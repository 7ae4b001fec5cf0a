/**
 * holdfast diagnostics: one file with what support needs. Only what is named here goes in, and all of it is rid of secrets: the token
 * of the API, values of labels, and whatever bears the name of a secret.
 */

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

import type { Command } from 'commander';

import { MadeLog } from '../../attacher/made-log.ts';
import type { Installation } from '../../control/installation.ts';
import type { StatusView } from '../../control/schemas.ts';
import { servedInstallation } from '../../control/served-installation.ts';
import { servedRoles } from '../../control/service-manager.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { serviceOf } from '../../control/units.ts';
import { packageVersion } from '../../env/node/package-version.ts';
import { Fault } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import { formatSize } from '../../model/sizes.ts';
import { textWithoutSecrets, withoutSecrets } from '../../model/secrets.ts';
import { addCommand, type Context, contextOf } from '../context.ts';
import { openRecords, whyOf } from './records.ts';

/** Of each log: its end. */
const LOG_BYTES_MAX = 512 * 1024;
const JOURNAL_LINES_MAX = 3000;
const KERNEL_FILES: readonly string[] = [
  '/proc/version',
  '/proc/cmdline',
  '/proc/meminfo',
  '/proc/loadavg',
  '/proc/mounts',
  '/proc/modules',
  '/proc/partitions',
  '/proc/diskstats',
  '/proc/pressure/io',
  '/proc/pressure/memory',
  '/proc/sys/kernel/io_uring_disabled',
  '/proc/sys/vm/overcommit_memory',
  '/sys/fs/cgroup/memory.max',
  '/sys/fs/cgroup/memory.current',
  '/etc/os-release',
];
/** Of each process of Holdfast. Never its environment. */
const PROCESS_FILES: readonly string[] = [
  'status',
  'limits',
  'oom_score_adj',
  'schedstat',
  'wchan',
];

/** Adds the command to the program. */
export function addDiagnosticsCommand(program: Command): void {
  addCommand(program, 'diagnostics', {
    purpose:
      'Bundles what support needs in one file, without secrets: status, records, events, metrics, ends of logs, the doctor, kernel facts.',
    example: 'holdfast diagnostics --file diagnostics.tar.gz',
    isLocal: true,
  })
    .option('--file <file>', 'where (default: holdfast-diagnostics-TIME.tar.gz here)')
    .action(async ({ file }: { file?: string }, command: Command) => {
      const context = contextOf(command);
      const name = `holdfast-diagnostics-${new Date().toISOString().replaceAll(/[-:]|\..*/g, '')}`;
      const target = path.resolve(file ?? `${name}.tar.gz`);
      const entries = await bundle(context, { name, target });
      const { size } = fs.statSync(target);
      context.output.result(
        { file: target, sizeBytes: size, entries },
        `${target} (${formatSize(size)}, ${entries.length} files). Look at it before you send it`,
      );
    });
}

/** Makes the file; resolves with the names of what is in it. */
async function bundle(
  context: Context,
  options: { readonly name: string; readonly target: string },
): Promise<string[]> {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-diagnostics-'));
  try {
    const folder = path.join(work, options.name);
    const entries = await collect(context);
    const hidden = secretsOf(context.installation);
    for (const [name, text] of entries) {
      const file = path.join(folder, name);
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      const clean = hidden.reduce((all, secret) => all.replaceAll(secret, '(hidden)'), text);
      fs.writeFileSync(file, textWithoutSecrets(clean), { mode: 0o600 });
    }
    pack(work, options);
    return [...entries.keys()];
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function pack(
  work: string,
  { name, target }: { readonly name: string; readonly target: string },
): void {
  // Made by us first, so that nobody else can read it.
  fs.closeSync(fs.openSync(target, 'w', 0o600));
  fs.chmodSync(target, 0o600);
  const { status, error, stderr } = spawnSync('tar', ['-czf', target, '-C', work, name], {
    encoding: 'utf8',
  });
  if (status === 0) return;
  fs.rmSync(target, { force: true });
  throw new Fault('DIAGNOSTICS_FAILED', { path: target, problem: error?.message ?? stderr.trim() });
}

/** By name in the bundle: the text of each file. What cannot be had says why. */
async function collect(context: Context): Promise<Map<string, string>> {
  const { api, installation } = context;
  const files = new Map<string, string>();
  const add = async (name: string, read: () => Promise<string> | string): Promise<void> => {
    try {
      files.set(name, await read());
    } catch (error) {
      files.set(name, cannot(whyOf(error)));
    }
  };
  const { version } = process;
  const versions = {
    holdfast: packageVersion(),
    node: version,
    kernel: os.version(),
    release: os.release(),
    arch: os.arch(),
    at: new Date().toISOString(),
  };
  await add('versions.json', () => json(versions));
  await add('doctor.json', async () => {
    const { examine } = await import('../doctor/examine.ts');
    return json({ checks: await examine(context) });
  });
  const status = await api.get<StatusView>('/v1/status').catch(whyOf);
  files.set('status.json', typeof status === 'string' ? cannot(status) : json(status));
  await add('metrics.txt', () => api.text('/metrics'));
  await add('records.json', async () => json(await recordsOf(installation)));
  const supervisor = readSupervisor(installation.runDirectory);
  await add('supervisor.json', () => json(supervisor ?? {}));
  await add('made.json', () => json({ made: new MadeLog(installation.runDirectory).entries() }));
  await add('engine.json', () => readText(path.join(installation.directory, 'engine.json')));
  for (const file of KERNEL_FILES) await add(`kernel${file}`, () => readText(file));
  for (const [role, { pid }] of Object.entries(
    typeof status === 'string' ? (supervisor?.processes ?? {}) : status.processes,
  )) {
    for (const file of pid === null ? [] : PROCESS_FILES)
      await add(`processes/${role}/${file}`, () => readText(`/proc/${pid}/${file}`));
  }
  const logs = fs.existsSync(installation.logDirectory)
    ? fs.readdirSync(installation.logDirectory)
    : [];
  for (const name of logs)
    await add(`log/${name}`, () => endOf(path.join(installation.logDirectory, name)));
  if (servedInstallation() === installation.directory) await add('log/journal', readJournal);
  return files;
}

const cannot = (why: string): string => `Cannot be had: ${why}\n`;

/** From their file, so that they can be had while control is away. Requests with keys stay out: they hold answers. */
async function recordsOf({ directory }: Installation): Promise<object> {
  const records = await openRecords(directory);
  if (records === undefined) return {};
  try {
    return {
      drives: await records.store.drives(),
      volumes: (await records.store.volumes()).map(withoutLabels),
      trash: (await records.store.trash()).map(({ volume, ...rest }) => ({
        ...rest,
        volume: withoutLabels(volume),
      })),
      usages: [...(await records.store.usages()).values()],
      operations: await records.store.operations(),
      events: await records.store.events(),
    };
  } finally {
    await records.close();
  }
}

/** Values of labels are the user's, and nobody knows what they hold. */
function withoutLabels(volume: VolumeRecord): object {
  return { ...volume, labels: Object.keys(volume.labels ?? {}) };
}

/** What must not be anywhere in the bundle, word by word. */
function secretsOf({ tokenFile }: Installation): string[] {
  const read = (file: string): string => {
    try {
      return fs.readFileSync(file, 'utf8').trim();
    } catch {
      // There is none.
      return '';
    }
  };
  return [read(tokenFile), process.env['HOLDFAST_TOKEN'] ?? ''].filter((secret) => secret !== '');
}

const json = (value: object): string => `${JSON.stringify(withoutSecrets(value), undefined, 2)}\n`;

const readText = (file: string): string => fs.readFileSync(file, 'utf8');

/** Where systemd starts the processes, their logs are in its journal. */
function readJournal(): string {
  const units = servedRoles().flatMap((role) => ['-u', serviceOf(role)]);
  const words = [...units, '-o', 'cat', '-n', String(JOURNAL_LINES_MAX)];
  const { stdout, stderr, error } = spawnSync('journalctl', words, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  return stdout + stderr;
}

/** The last lines of a log. */
function endOf(file: string): string {
  const fd = fs.openSync(file, 'r');
  try {
    const { size } = fs.fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(size, LOG_BYTES_MAX));
    fs.readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    const text = bytes.toString();
    return size === bytes.length ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    fs.closeSync(fd);
  }
}
