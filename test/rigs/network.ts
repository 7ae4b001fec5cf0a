/**
 * Machines on a network that exists in this machine alone: a network namespace for each, joined by a bridge in one more. Namespaces live
 * as long as a process of theirs, which dies with this one, so nothing is left of them however this one ends. Needs root, `ip`, `nft`, `tc`.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import process from 'node:process';
import { text } from 'node:stream/consumers';

import { until } from './attach-rig.ts';

const NAMESPACE = '/proc/self/ns/net';
const DEVICE = 'eth0';
const WIRE = new URL('slow-wire-process.ts', import.meta.url).pathname;
const PATH = `/usr/sbin:/sbin:${process.env['PATH']}`;

/** A machine: how to start a process in it, and its address. */
export type Place = { readonly enter: readonly string[]; readonly host: string };

/** A wire's own: each frame takes `delayMs` to twice as long, and of a hundred `lossPercent` never arrive. */
export type Slowness = { readonly delayMs: number; readonly lossPercent: number };

type Machine = Place & {
  readonly holder: ChildProcess;
  /** That it is behind a slow wire. */
  wire: ChildProcess | undefined;
  /** Percent of the packets from an address that do not arrive. */
  readonly losses: Map<string, number>;
};

export class Network {
  readonly #bridge: ChildProcess;
  readonly #machines = new Map<string, Machine>();

  private constructor(bridge: ChildProcess) {
    this.#bridge = bridge;
  }

  static async open(): Promise<Network> {
    const bridge = await startNamespace();
    const network = new Network(bridge);
    await run([...entering(bridge), 'ip', 'link', 'add', 'bridge', 'type', 'bridge']);
    await run([...entering(bridge), 'ip', 'link', 'set', 'bridge', 'up']);
    return network;
  }

  async add(name: string): Promise<Place> {
    const holder = await startNamespace();
    const host = `10.77.0.${this.#machines.size + 1}`;
    const losses = new Map<string, number>();
    const machine = { holder, wire: undefined, enter: entering(holder), host, losses };
    this.#machines.set(name, machine);
    const port = bridgePort(name);
    const bridge = entering(this.#bridge);
    const peer = ['peer', 'name', DEVICE, 'netns', String(holder.pid)];
    await run([...bridge, 'ip', 'link', 'add', port, 'type', 'veth', ...peer]);
    await run([...bridge, 'ip', 'link', 'set', port, 'master', 'bridge', 'up']);
    await run([...machine.enter, 'ip', 'address', 'add', `${host}/24`, 'dev', DEVICE]);
    for (const device of ['lo', DEVICE]) {
      await run([...machine.enter, 'ip', 'link', 'set', device, 'up']);
    }
    return machine;
  }

  /** So much of what `from` sends to `to` is lost from now on: with 100 it is cut off, one way; with 0 all arrives. */
  async lose(from: string, to: string, percent: number): Promise<void> {
    const { losses, enter } = this.#machine(to);
    losses.set(this.#machine(from).host, percent);
    const rules = [...losses].map(([host, share]) =>
      share === 100
        ? `ip saddr ${host} drop`
        : `ip saddr ${host} numgen random mod 100 < ${share} drop`,
    );
    const chain = `type filter hook input priority 0; policy accept\n${rules.join('\n')}\n`;
    // In one transaction; what is not there cannot be deleted.
    const script = `table inet loss\ndelete table inet loss\ntable inet loss {\nchain input {\n${chain}}\n}\n`;
    await run([...enter, 'nft', script]);
  }

  /** What it sends from now on goes at such a rate, as on a line that is too slow; undefined: as fast as it goes. */
  async limit(name: string, kbit: number | undefined): Promise<void> {
    const words = [...this.#machine(name).enter, 'tc', 'qdisc'];
    if (kbit === undefined) {
      await run([...words, 'delete', 'dev', DEVICE, 'root']);
    } else {
      const queue = ['burst', '32kb', 'latency', '400ms'];
      await run([
        ...words,
        'replace',
        'dev',
        DEVICE,
        'root',
        'tbf',
        'rate',
        `${kbit}kbit`,
        ...queue,
      ]);
    }
  }

  /** What goes to it and comes from it from now on passes such a wire; undefined: none. Connections stay. */
  async slow(name: string, slowness: Slowness | undefined): Promise<void> {
    const machine = this.#machine(name);
    const link = [...entering(this.#bridge), 'ip', 'link'];
    const [segment, near, far] = [`wire-${name}`, `near-${name}`, `far-${name}`];
    if (slowness === undefined) {
      await run([...link, 'set', bridgePort(name), 'master', 'bridge']);
      await run([...link, 'delete', segment]);
      if (machine.wire !== undefined) await end(machine.wire);
      machine.wire = undefined;
      return;
    }
    const { delayMs, lossPercent } = slowness;
    const wire = [process.execPath, WIRE, near, far, String(delayMs), String(lossPercent)];
    // Wires do not wait for a processor.
    const words = ['--pdeathsig', 'KILL', 'nice', '-n', '-15', ...entering(this.#bridge), ...wire];
    machine.wire = spawn('setpriv', words, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    await once(machine.wire, 'message');
    await run([...link, 'add', segment, 'type', 'bridge']);
    await run([...link, 'set', segment, 'up']);
    await run([...link, 'set', near, 'master', segment, 'up']);
    await run([...link, 'set', far, 'master', 'bridge', 'up']);
    await run([...link, 'set', bridgePort(name), 'master', segment]);
  }

  /** Ends it; who is still in it is on his own. */
  async close(): Promise<void> {
    for (const { holder, wire } of this.#machines.values()) {
      if (wire !== undefined) await end(wire);
      await end(holder);
    }
    await end(this.#bridge);
  }

  #machine(name: string): Machine {
    const machine = this.#machines.get(name);
    assert.ok(machine !== undefined, `no machine "${name}"`);
    return machine;
  }
}

/** The bridge's end of a machine's line. */
const bridgePort = (name: string): string => `port-${name}`;

const entering = ({ pid }: ChildProcess): readonly string[] => [
  'nsenter',
  `--net=/proc/${pid}/ns/net`,
];

/** A process that does nothing, in a network namespace of its own. */
async function startNamespace(): Promise<ChildProcess> {
  const words = ['--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', 'infinity'];
  const holder = spawn('setpriv', words, { stdio: 'ignore' });
  const own = fs.readlinkSync(NAMESPACE);
  await until(() => {
    assert.equal(holder.exitCode, null, 'a network namespace can be made');
    return fs.readlinkSync(`/proc/${holder.pid}/ns/net`) !== own;
  });
  return holder;
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function run([program = '', ...words]: readonly string[]): Promise<void> {
  const env = { ...process.env, PATH };
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'], env });
  const [said, [status]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  assert.equal(status, 0, `${words.join(' ')}: ${said}`);
}
