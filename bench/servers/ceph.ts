/** The peer that is a cluster: Ceph's RBD with three copies. A monitor, a manager and three OSDs on this machine, reached over loopback alone. */

import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { missing } from '../../bootstrap/debian-packages.mjs';
import { freePort } from '../../test/rigs/etcd-process.ts';
import type { Target } from '../lib/fio.ts';
import { field, listField, numberField, textField } from '../lib/json.ts';
import { endProcess, runOk, startProcess, waitFor } from '../lib/processes.ts';
import type { RigFolder } from '../lib/rig.ts';
import type { Server } from '../lib/server.ts';

const PACKAGES = ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'ceph-common'];
const COPIES = 3;
const HOST = '127.0.0.1';
const POOL = 'bench';
const IMAGE = 'volume';
/** The usual count for this few OSDs: each has a copy of each. */
const PLACEMENT_GROUPS = 32;
/** Of an OSD: copies are written anew elsewhere before the old is free, and its database takes some. */
const DRIVE_VOLUMES = 4;
const DRIVE_BYTES_MIN = 4 * 2 ** 30;
const MIB = 2 ** 20;
const WHOLE_MS_MAX = 120_000;

/** Why there is no Ceph here, or undefined. */
export function cephProblem(): string | undefined {
  const absent = missing(PACKAGES);
  return absent.length === 0 ? undefined : `not installed: ${absent.join(' ')}`;
}

/** Of the disk, for a volume of `sizeBytes`. */
export function cephBytes(sizeBytes: number): number {
  return COPIES * driveBytes(sizeBytes);
}

export class Ceph implements Server {
  readonly name = 'Ceph RBD';
  readonly acknowledgedWhen =
    'durable on all three: so its plain writes stand in the rows with fsync and FUA, too';
  readonly #folder: RigFolder;
  readonly #path: string;
  readonly #configPath: string;
  #children: { readonly child: ChildProcess; readonly logPath: string }[] = [];
  /** Of each OSD the epoch in which it came up, when the cluster was last whole. */
  #upFrom = '';

  constructor(folder: RigFolder) {
    this.#folder = folder;
    this.#path = join(folder.path, 'ceph');
    this.#configPath = join(this.#path, 'ceph.conf');
  }

  async version(): Promise<string> {
    return (await this.#run('ceph-osd', ['--version'])).trim();
  }

  async start(sizeBytes: number): Promise<Target> {
    mkdirSync(this.#path);
    await this.#startMonitor();
    this.#start('ceph-mgr', 'x');
    for (let copy = 0; copy < COPIES; copy += 1) await this.#startDrive(driveBytes(sizeBytes));
    await this.#run('ceph', ['osd', 'pool', 'create', POOL, String(PLACEMENT_GROUPS)]);
    await this.wasWhole();
    await this.#run('rbd', ['pool', 'init', POOL]);
    await this.#run('rbd', ['create', '--size', `${sizeBytes / MIB}M`, `${POOL}/${IMAGE}`]);
    return { kind: 'rbd', configPath: this.#configPath, pool: POOL, image: IMAGE, sizeBytes };
  }

  /** Whether all OSDs have been up since the last call. If not, it waits until they are, and all copies equal again. */
  async wasWhole(): Promise<boolean> {
    const timing = { timeoutMs: WHOLE_MS_MAX, everyMs: 500 };
    await waitFor('all copies are there and equal', () => this.#isWhole(), timing);
    const upFrom = (await this.#drives()).map((each) => numberField(each, 'up_from')).join();
    const wasWhole = upFrom === this.#upFrom;
    this.#upFrom = upFrom;
    return wasWhole;
  }

  pids(): readonly number[] {
    return this.#children.flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
  }

  async stop(): Promise<void> {
    for (const { child } of this.#children.toReversed()) await endProcess(child);
    this.#children = [];
    rmSync(this.#path, { recursive: true, force: true });
  }

  async #startMonitor(): Promise<void> {
    const clusterId = randomUUID();
    const address = `[v2:${HOST}:${await freePort()}]`;
    writeFileSync(this.#configPath, configText(this.#path, { clusterId, address }));
    const map = join(this.#path, 'monmap');
    await this.#run('monmaptool', ['--create', '--addv', 'a', address, '--fsid', clusterId, map]);
    await this.#run('ceph-mon', ['--mkfs', '--id', 'a', '--monmap', map]);
    this.#start('ceph-mon', 'a');
  }

  async #startDrive(sizeBytes: number): Promise<void> {
    const driveId = randomUUID();
    const id = (await this.#run('ceph', ['osd', 'new', driveId])).trim();
    const folder = join(this.#path, `osd${id}`);
    mkdirSync(folder);
    // Written in full, as the other sides' drives and images are: a first write into space that is only reserved costs more.
    const blocks = ['bs=4M', `count=${sizeBytes / (4 * MIB)}`, 'oflag=direct', 'status=none'];
    await this.#run('dd', ['if=/dev/zero', `of=${join(folder, 'block')}`, ...blocks]);
    await this.#run('ceph-osd', ['--mkfs', '--id', id, '--osd-uuid', driveId]);
    this.#start('ceph-osd', id);
  }

  #start(command: string, id: string): void {
    const logPath = join(this.#path, `${command}-${id}.log`);
    const words = ['-f', '--id', id];
    const child = startProcess(command, words, { logPath, env: this.#env() });
    this.#folder.recordProcess(child.pid);
    this.#children.push({ child, logPath });
  }

  async #isWhole(): Promise<boolean> {
    this.#assertRunning();
    const up = (await this.#drives()).filter((each) => numberField(each, 'up') === 1);
    const summary = field(await this.#ask(['pg', 'stat']), 'pg_summary');
    const states = listField(summary, 'num_pg_by_state');
    const isClean = states.every((each) => textField(each, 'name').startsWith('active+clean'));
    return up.length === COPIES && states.length > 0 && isClean;
  }

  /** Its folder, and so the logs, are gone when the rig has ended. */
  #assertRunning(): void {
    for (const { child, logPath } of this.#children) {
      if (child.exitCode === null && child.signalCode === null) continue;
      const words = readFileSync(logPath, 'utf8').trim().slice(-2000);
      throw new Error(`"${child.spawnargs.join(' ')}" ended: ${words}`);
    }
  }

  /** The drives as the cluster has them. */
  async #drives(): Promise<unknown[]> {
    return listField(await this.#ask(['osd', 'dump']), 'osds');
  }

  async #ask(words: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.#run('ceph', [...words, '--format', 'json']));
  }

  async #run(command: string, args: readonly string[]): Promise<string> {
    try {
      return await runOk(command, args, { env: this.#env() });
    } catch (error) {
      // A command that waits for a part of the cluster does not know why it is gone.
      this.#assertRunning();
      throw error;
    }
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, CEPH_CONF: this.#configPath };
  }
}

function driveBytes(volumeBytes: number): number {
  return Math.max(DRIVE_BYTES_MIN, DRIVE_VOLUMES * volumeBytes);
}

/** All of it below `path`, nothing on another address, no authentication. `address`: the monitor's; the others take free ports by themselves. */
function configText(
  path: string,
  { clusterId, address }: { readonly clusterId: string; readonly address: string },
): string {
  return `[global]
fsid = ${clusterId}
mon_host = ${address}
public_addr = ${HOST}
cluster_addr = ${HOST}
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_data = ${path}/mon
mgr_data = ${path}/mgr
osd_data = ${path}/osd$id
run_dir = ${path}/run
crash_dir = ${path}/crash
admin_socket =
pid_file =
log_to_file = false
log_to_stderr = true
mon_cluster_log_to_file = false
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mgr_initial_modules =
osd_crush_chooseleaf_type = 0
osd_pool_default_size = ${COPIES}
osd_pool_default_min_size = 2
osd_pool_default_pg_autoscale_mode = off
mon_osd_reporter_subtree_level = osd
osd_memory_target = ${2 ** 30}
bluestore_debug_enforce_settings = ssd
[client]
log_to_stderr = false
rbd_cache = false
client_mount_timeout = 60
`;
}
