/** holdfast install: makes the services of a machine, the rule for its devices, and the command, or takes them away. */

import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import type { Command } from 'commander';

import { isAlive } from '../../attacher/process-identity.ts';
import { type Installation, refuseForeign } from '../../control/installation.ts';
import { ETCD, findEtcd, isMemberPlace } from '../../control/own-etcd.ts';
import { PROGRAM_ROOT } from '../../control/roles.ts';
import { runProgram } from '../../control/run-program.ts';
import { servedInstallation } from '../../control/served-installation.ts';
import { hasSystemd, isServing, systemctl } from '../../control/service-manager.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { UNIT_DIRECTORY, isOurs } from '../../control/served-installation.ts';
import { TARGET, unitFiles } from '../../control/units.ts';
import { Refusal } from '../../model/errors.ts';
import { addCommand, type Context, contextOf } from '../context.ts';

export type InstallOptions = {
  /** A folder that stands for /, an image's: nothing of the running machine is changed then. */
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly remove?: boolean;
};

const COMMAND = '/usr/local/bin/holdfast';

/** What a machine has of an installation: a file with its text, or a link with its target. */
type Piece =
  | { readonly kind: 'file'; readonly at: string; readonly text: string }
  | { readonly kind: 'link'; readonly at: string; readonly target: string };

/** Where the installation of a machine is. */
const SYSTEM_DIRECTORY = '/var/lib/holdfast';

/** Adds the command. */
export function addInstallCommand(program: Command): void {
  addCommand(program, 'install', {
    purpose: `Makes Holdfast services of this machine, started by systemd before Docker and Kubernetes: units, a udev rule for its devices, and the command in /usr/local/bin. The installation is in ${SYSTEM_DIRECTORY}, unless --data or $HOLDFAST_DATA says otherwise.`,
    example: 'holdfast install --dry-run',
    isLocal: true,
  })
    .option('--dry-run', 'show what it would write')
    .option('--remove', 'take all of it away again; the installation stays')
    .option('--prefix <dir>', 'write below this folder, an image, and change nothing that runs')
    .action(async (options: InstallOptions, command: Command) =>
      install(contextOf(command, { fallback: SYSTEM_DIRECTORY }), options),
    );
}

/** Writes, or with `remove` deletes. Again it changes nothing. Throws INSTALL_REFUSED, and has changed nothing. */
async function install(context: Context, options: InstallOptions): Promise<void> {
  const { cluster, installation, output } = context;
  const { prefix, dryRun = false, remove = false } = options;
  if (cluster !== undefined) {
    throw new Refusal('INSTALL_REFUSED', {
      problem: `"${cluster.directory}" is a cluster on one machine`,
      way: 'Services are for one node: --data names its directory',
    });
  }
  // Units and rules of udev write them otherwise than paths, or cannot.
  if (/["\\\n*?[\]{}]/.test(installation.directory)) {
    throw new Refusal('INSTALL_REFUSED', {
      problem: `a service cannot have its data in ${JSON.stringify(installation.directory)}`,
      way: 'Use a directory without quotes, backslashes, line breaks and the signs * ? [ ] { }',
    });
  }
  if (!dryRun && prefix === undefined) refuseUnable();
  const pieces = remove
    ? piecesToRemove(installation, prefix)
    : piecesOf(installation, etcdOf(installation), prefix);
  const changed = remove ? pieces.filter(isOwn) : missing(pieces);
  if (!dryRun && changed.length > 0) {
    if (prefix === undefined) await refuseRunning(installation, { remove });
    for (const piece of changed) change(piece, { remove });
    if (prefix === undefined) await tellMachine();
  }
  const text = (piece: Piece): string => (dryRun && !remove ? inWords(piece) : '');
  const lines = changed.map(
    (piece) => `${remove ? 'Deletes' : 'Writes'} ${piece.at}${text(piece)}`,
  );
  if (changed.length === 0) lines.push(remove ? 'Nothing of it is there' : 'All is there already');
  lines.push(
    remove
      ? `The installation in "${installation.directory}" stays: holdfast uninstall deletes it`
      : 'holdfast up starts it; after that it starts with the machine',
  );
  output.result({ changed: changed.map(({ at }) => at), dryRun, remove }, lines.join('\n'));
}

/** Has the units be those of this program. Throws at once what would stand in the way. */
export function planInstall(installation: Installation): () => Promise<void> {
  const changed = missing(piecesOf(installation, etcdOf(installation)));
  return async () => {
    for (const piece of changed) change(piece, { remove: false });
    if (changed.length > 0) await tellMachine();
  };
}

/** Takes the services away, which do not run any more. */
export async function removeServices(installation: Installation): Promise<void> {
  for (const piece of piecesToRemove(installation).filter(isOwn)) change(piece, { remove: true });
  await tellMachine();
}

/** The etcd of a node that has a member of the cluster's own. Throws ETCD_MISSING. */
const etcdOf = ({ directory }: Installation): string | undefined =>
  isMemberPlace(directory) ? findEtcd() : undefined;

/** With what only some installations have: this one may be gone already. */
const piecesToRemove = (installation: Installation, prefix?: string): readonly Piece[] =>
  piecesOf(installation, ETCD, prefix);

function piecesOf(
  { directory, runDirectory }: Installation,
  etcd: string | undefined,
  prefix = '/',
): readonly Piece[] {
  const files = unitFiles({
    node: process.execPath,
    root: PROGRAM_ROOT,
    data: directory,
    fuseDirectory: path.join(runDirectory, 'fuse'),
    etcd,
  });
  const links = [
    {
      path: `${UNIT_DIRECTORY}/multi-user.target.wants/${TARGET}`,
      target: `${UNIT_DIRECTORY}/${TARGET}`,
    },
    { path: COMMAND, target: path.join(PROGRAM_ROOT, 'bin', 'holdfast') },
  ];
  return [
    ...files.map((file) => ({
      kind: 'file' as const,
      at: path.join(prefix, file.path),
      text: file.text,
    })),
    ...links.map((link) => ({
      kind: 'link' as const,
      at: path.join(prefix, link.path),
      target: link.target,
    })),
  ];
}

function refuseUnable(): void {
  if (!hasSystemd()) {
    const way = 'holdfast up --detach runs without it; --prefix DIR writes the files for an image';
    throw refused('systemd does not run here', way);
  }
  if (process.getuid?.() !== 0) throw refused('it takes root', 'Run it as root');
}

/** Refuses to change what runs. */
async function refuseRunning(
  installation: Installation,
  { remove }: { readonly remove: boolean },
): Promise<void> {
  const { directory, runDirectory } = installation;
  const end = 'holdfast down ends it';
  const supervisor = readSupervisor(runDirectory);
  if (supervisor !== undefined && isAlive(supervisor)) {
    throw refused(
      `process ${supervisor.pid} runs it in "${directory}", which is to be services`,
      end,
    );
  }
  const served = servedInstallation();
  if ((remove || (served !== undefined && served !== directory)) && (await isServing())) {
    throw refused(`it runs in "${served}"`, end);
  }
  if (!remove) refuseForeign(directory);
}

/** Those that are not as they are to be. Throws INSTALL_REFUSED where somebody else has something there. */
function missing(pieces: readonly Piece[]): readonly Piece[] {
  const changed = pieces.filter((piece) => !isSo(piece));
  const foreign = changed.find((piece) => statsOf(piece.at) !== undefined && !isOwn(piece));
  if (foreign === undefined) return changed;
  throw refused(`"${foreign.at}" is there, and not of holdfast install`, 'Move it away');
}

/** Whether an installation made it, be it another version. */
function isOwn(piece: Piece): boolean {
  const stats = statsOf(piece.at);
  if (stats === undefined) return false;
  if (piece.kind === 'file') return stats.isFile() && isOurs(fs.readFileSync(piece.at, 'utf8'));
  if (!stats.isSymbolicLink()) return false;
  const target = fs.readlinkSync(piece.at);
  // npm's own are relative, and go with its package.
  return path.isAbsolute(target) && target.endsWith(path.join('/', path.basename(piece.target)));
}

/** Whether it is as it is to be: npm's link to the same program will do. */
function isSo(piece: Piece): boolean {
  if (piece.kind === 'file')
    return isOwn(piece) && fs.readFileSync(piece.at, 'utf8') === piece.text;
  const stats = statsOf(piece.at);
  if (stats?.isSymbolicLink() !== true) return false;
  const target = path.resolve(path.dirname(piece.at), fs.readlinkSync(piece.at));
  return target === piece.target || realPath(target) === realPath(piece.target);
}

function change(piece: Piece, { remove }: { readonly remove: boolean }): void {
  if (remove) {
    fs.rmSync(piece.at);
    return;
  }
  fs.mkdirSync(path.dirname(piece.at), { recursive: true });
  // As a whole, so that a power cut leaves no half of it.
  const next = `${piece.at}.next`;
  fs.rmSync(next, { force: true });
  if (piece.kind === 'file') fs.writeFileSync(next, piece.text, { flush: true });
  else fs.symlinkSync(piece.target, next);
  fs.renameSync(next, piece.at);
}

async function tellMachine(): Promise<void> {
  await systemctl('daemon-reload');
  // Where there is no udev, nobody looks at devices.
  await runProgram('udevadm', 'control', '--reload');
}

const inWords = (piece: Piece): string =>
  piece.kind === 'file' ? `:\n${piece.text}` : ` -> ${piece.target}`;

const statsOf = (at: string): fs.Stats | undefined => fs.lstatSync(at, { throwIfNoEntry: false });

function realPath(at: string): string | undefined {
  return fs.existsSync(at) ? fs.realpathSync(at) : undefined;
}

function refused(problem: string, way: string): Refusal {
  return new Refusal('INSTALL_REFUSED', { problem, way });
}
