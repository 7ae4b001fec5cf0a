/**
 * Replaces the processes of an installation that runs by those of the program that runs this, under mounted file systems: the attacher
 * hands its devices over, then engine and control are replaced, by systemd or by a new supervisor in the place of the old one.
 *
 * All that can refuse comes first: packages that are missing, a full disk, protocols, drive formats, and the new attacher, which is started
 * and says whether it can take over before the old one stops.
 */

import process from 'node:process';

import { isAlive } from '../../attacher/process-identity.ts';
import { type Installation, refuseFull } from '../../control/installation.ts';
import { LineClient } from '../../control/line-client.ts';
import { PROGRAM_ROOT, mainPath } from '../../control/roles.ts';
import type { StatusView } from '../../control/schemas.ts';
import { isServing } from '../../control/service-manager.ts';
import { type SupervisorState, readSupervisor } from '../../control/supervisor-state.ts';
import { packageVersion } from '../../env/node/package-version.ts';
import { processes } from '../../env/node/processes.ts';
import { Refusal } from '../../model/errors.ts';
import { FORMAT_VERSION } from '../../store/superblock.ts';
import type { Context } from '../context.ts';
import { planInstall } from './install.ts';
import { isServed, restartServices } from './services.ts';
import { refuseIncomplete, startDetached } from './start.ts';

const SUPERVISOR_END_MS_MAX = 5000;

/** A disk that is slow for a moment puts the handover of the attacher off. */
const HANDOVER_TRIES = 5;
const HANDOVER_PAUSE_MS = 500;

/** Of a drive that could not be opened there is no format. */
type DriveFacts = { readonly path: string; readonly formatVersion?: number };

/** Upgrades what runs. Throws, and has stopped nothing, where this program cannot go on with it. */
export async function upgrade(context: Context): Promise<void> {
  const { installation, output } = context;
  const replaceOthers = isServed(installation)
    ? await planServices(installation)
    : planSupervisor(context);
  refuseIncomplete();
  // Without room no supervisor starts, and the one before would be gone.
  refuseFull(installation);
  const before = await refuseUnfit(installation);
  await replaceAttacher(installation);
  output.note('The attacher is replaced; now engine and control');
  await replaceOthers();
  const version = packageVersion();
  const status = await context.api.get<StatusView>('/v1/status');
  output.result(
    { ...status, before },
    `Holdfast ${version} runs in "${installation.directory}" (before: ${before})`,
  );
}

async function planServices(installation: Installation): Promise<() => Promise<void>> {
  if (!(await isServing())) {
    throw new Refusal('INSTALLATION_DOWN', { dataDir: installation.directory });
  }
  const write = planInstall(installation);
  return async () => {
    await write();
    await restartServices();
  };
}

function planSupervisor(context: Context): () => Promise<void> {
  const supervisor = supervisorOf(context.installation);
  return async () => {
    // What it started goes on, and the next one takes it over.
    process.kill(supervisor.pid, 'SIGKILL');
    await ended(supervisor);
    await startDetached(context);
  };
}

function supervisorOf(installation: Installation): SupervisorState {
  const supervisor = readSupervisor(installation.runDirectory);
  if (supervisor === undefined || !isAlive(supervisor)) {
    throw new Refusal('INSTALLATION_DOWN', { dataDir: installation.directory });
  }
  if (!processes.wordsOf(supervisor.pid).includes('--supervise')) {
    throw refused(
      installation,
      `process ${supervisor.pid} runs it in the foreground, and would have to end`,
      '. End it (holdfast down), and start it anew',
    );
  }
  return supervisor;
}

/** Throws where what runs says that this program cannot go on with it; resolves with the version that runs. */
async function refuseUnfit(installation: Installation): Promise<string> {
  const engine = new LineClient(installation.engineSocket, 'ENGINE_UNREACHABLE');
  try {
    const { drives } = await engine.call('drive.list', {});
    for (const { formatVersion, path } of drives as readonly DriveFacts[]) {
      if (formatVersion === undefined || formatVersion === FORMAT_VERSION) continue;
      const formats = `format ${formatVersion}, and this version reads ${FORMAT_VERSION}`;
      throw refused(installation, `drive "${path}" has ${formats}`);
    }
    return String(engine.hello?.['version']);
  } finally {
    engine.close();
  }
}

async function replaceAttacher(installation: Installation): Promise<void> {
  const attacher = new LineClient(installation.attacherSocket, 'ATTACHER_UNREACHABLE');
  try {
    await attacher.call('list', {});
    const main = mainPath(PROGRAM_ROOT);
    const pid = attacher.hello?.['pid'];
    for (let tries = 1; ; tries++) {
      try {
        await attacher.call('handover', { pid, node: process.execPath, main });
        return;
      } catch (error) {
        if (!(error instanceof Refusal) || error.code !== 'ATTACHER_REFUSED') throw error;
        const { problem, isBusy } = error.details;
        if (isBusy !== 1 || tries === HANDOVER_TRIES) throw refused(installation, String(problem));
        await new Promise((resolve) => setTimeout(resolve, HANDOVER_PAUSE_MS));
      }
    }
  } finally {
    attacher.close();
  }
}

async function ended(supervisor: SupervisorState): Promise<void> {
  const deadline = performance.now() + SUPERVISOR_END_MS_MAX;
  while (isAlive(supervisor) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 5));
}

function refused({ directory }: Installation, problem: string, way = ''): Refusal {
  return new Refusal('UPGRADE_REFUSED', { dataDir: directory, problem, way });
}
