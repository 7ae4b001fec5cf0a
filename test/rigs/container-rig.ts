/** An installation in a sandbox, for the containers of an engine there, and the death of each of its processes. */

import path from 'node:path';

import { ApiClient } from '../../src/cli/api-client.ts';
import { installationAt } from '../../src/control/installation.ts';
import type { StatusView, VolumeView } from '../../src/control/schemas.ts';
import { until } from './attach-rig.ts';
import { CliRig } from './cli-rig.ts';
import { sweepEarlierTests } from './control-rig.ts';
import { Sandbox } from './sandbox.ts';

/** Counts in a file, each number synced before the next; a failure stands in another. */
export const WRITER =
  'i=0; while :; do i=$((i+1)); { echo $i >> /data/log && sync /data/log; } || echo $i >> /data/failed; sleep 0.02; done';

export class ContainerRig {
  readonly cli: CliRig;
  readonly api: ApiClient;
  readonly sandbox: Sandbox;

  private constructor(cli: CliRig, sandbox: Sandbox) {
    this.cli = cli;
    this.sandbox = sandbox;
    this.api = new ApiClient([installationAt(cli.data)]);
  }

  /** Starts Holdfast, with a volume plugin of that name. */
  static async start(plugin: string): Promise<ContainerRig> {
    await sweepEarlierTests();
    const cli = new CliRig();
    const sandbox = await Sandbox.start(cli.pluginDirectory);
    cli.sandbox = sandbox;
    const rig = new ContainerRig(cli, sandbox);
    try {
      await cli.up();
      await cli.json('docker', 'enable', plugin);
      return rig;
    } catch (error) {
      await rig.close();
      throw error;
    }
  }

  get directory(): string {
    return this.cli.directory;
  }

  /** A file of the rig's. */
  at(name: string): string {
    return path.join(this.directory, name);
  }

  inspect(name: string): Promise<VolumeView> {
    return this.api.get<VolumeView>(`/v1/volumes/${name}`);
  }

  /** How many hold its mount; 0: it is not mounted. */
  async holdersOf(name: string): Promise<number> {
    return (await this.inspect(name)).mount?.holders.length ?? 0;
  }

  async volumes(): Promise<string[]> {
    return (await this.api.get<VolumeView[]>('/v1/volumes')).map(({ name }) => name);
  }

  /** Kills a process of Holdfast and waits until another does its work. */
  async kill(role: 'engine' | 'attacher' | 'control' | 'supervisor'): Promise<void> {
    const { processes } = await this.api.get<StatusView>('/v1/status');
    const pid = processes[role]?.pid;
    await this.sandbox.run('kill', '-KILL', String(pid));
    if (role === 'supervisor') await this.cli.json('up', '--detach');
    await until(async () => {
      const now = await this.api.get<StatusView>('/v1/status').catch(() => undefined);
      if (now === undefined || now.processes[role]?.pid === pid) return false;
      return Object.values(now.processes).every(({ state }) => state === 'running');
    });
  }

  async close(): Promise<void> {
    await this.sandbox.close();
    this.cli.sandbox = undefined;
    await this.cli.close();
  }
}
