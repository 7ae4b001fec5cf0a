/** Holdfast as the tour sees it: the command line, as a user or a script would use it, and nothing else. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { shellWord } from '../../bootstrap/shell-word.mjs';
import type { Screen } from './screen.ts';

const HOLDFAST = fileURLToPath(new URL('../../bin/holdfast', import.meta.url));
/** Output of one command; a list of a thousand volumes is below 1 MiB. */
const OUTPUT_BYTES_MAX = 16 * 2 ** 20;
/** Only a volume with this label is the tour's to remove. */
const TOUR_LABEL = 'holdfast/tour';

/** A command that ended with another status than 0. */
export class CommandFailed extends Error {
  override name = 'CommandFailed';
  /** One of the codes of docs/errors.md; empty when the command did not say. */
  readonly code: string;
  readonly exitStatus: number;

  constructor(message: string, options: { readonly code: string; readonly exitStatus: number }) {
    super(message);
    this.code = options.code;
    this.exitStatus = options.exitStatus;
  }
}

export type Status = {
  readonly ioKind: string;
  readonly warnings: readonly string[];
};

export type Volume = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly attachment: { readonly node: string | null } | null;
};

type NodesJson = { readonly nodes: readonly NodeJson[] };

type NodeJson = {
  readonly node: string;
  readonly dataDir: string;
  readonly state: string;
  /** Null while its control does not answer. */
  readonly status: {
    readonly processes: Readonly<Record<string, { readonly pid: number | null } | undefined>>;
    readonly io: { readonly kind: string };
    readonly warnings: readonly string[];
  } | null;
};

type VolumeJson = { readonly replicas: readonly { readonly state: string }[] };

export class CommandLine {
  readonly dataFolder: string;

  constructor(dataFolder: string) {
    this.dataFolder = dataFolder;
  }

  /** Runs one command and returns what it prints, JSON of a shape that the caller knows. Throws {@link CommandFailed}. */
  async run<Result = unknown>(...words: readonly string[]): Promise<Result> {
    return await this.#run(words);
  }

  /** {@link run}, shown with its time: a user would do the same. */
  async show<Result = unknown>(screen: Screen, ...words: readonly string[]): Promise<Result> {
    const command = `  holdfast ${words.map(shellWord).join(' ')}`;
    return await screen.step(command, () => this.#run<Result>(words));
  }

  /** Starts the nodes. Rejects with an AbortError as soon as `signal` says so; what was started by then runs. */
  async up(nodeCount: number, driveSize: string, signal: AbortSignal): Promise<void> {
    const drive = ['--drive-size', driveSize, '--sparse'];
    await this.#run(['up', '--nodes', String(nodeCount), '--detach', ...drive], signal);
  }

  /** Starts one node again, and shows that. */
  async showUp(screen: Screen, node: string): Promise<void> {
    const { dataDir } = await this.#node(node);
    await screen.step(`  holdfast up --detach --data ${shellWord(dataDir)}`, async () => {
      await new CommandLine(dataDir).run('up', '--detach');
      return '';
    });
  }

  async #run<Result>(words: readonly string[], signal?: AbortSignal): Promise<Result> {
    const args = [...words, '--data', this.dataFolder, '--output', 'json'];
    const { stdout, stderr, status } = await runToEnd(HOLDFAST, args, signal);
    signal?.throwIfAborted();
    if (status === 0) return JSON.parse(stdout);
    const { code, detail, wayOut } = parseProblem(stderr);
    const sentences = [`holdfast ${words.join(' ')}: ${detail}`, wayOut].filter(Boolean);
    throw new CommandFailed(sentences.join('\n'), { code, exitStatus: status });
  }

  /** How each node does its I/O, and what is wrong with them. */
  async status(): Promise<Status> {
    const { nodes } = await this.run<NodesJson>('status');
    const kinds = nodes.map(({ status }) => status?.io.kind ?? 'none');
    const warnings = new Set(nodes.flatMap(({ status }) => status?.warnings ?? []));
    return { ioKind: [...new Set(kinds)].join(', '), warnings: [...warnings] };
  }

  /** Undefined while it is away. */
  async enginePid(node: string): Promise<number | undefined> {
    const { status } = await this.#node(node);
    return status?.processes['engine']?.pid ?? undefined;
  }

  /** The processes of a node, the supervisor first: it would start the others again. */
  async nodePids(node: string): Promise<readonly number[]> {
    const processes = Object.values((await this.#node(node)).status?.processes ?? {});
    return processes.flatMap((each) => each?.pid ?? []);
  }

  async #node(name: string): Promise<NodeJson> {
    const { nodes } = await this.run<NodesJson>('status');
    const found = nodes.find(({ node }) => node === name);
    if (found === undefined) throw new Error(`holdfast status names no node "${name}"`);
    return found;
  }

  /** Whether each of `count` replicas of a volume has every acknowledged write. */
  async isSynced(volume: string, count: number): Promise<boolean> {
    const { replicas } = await this.run<VolumeJson>('volume', 'inspect', volume);
    return replicas.filter(({ state }) => state === 'synced').length === count;
  }

  /** Whether something answers for this folder. */
  async isRunning(): Promise<boolean> {
    try {
      const status = await this.run<Partial<NodesJson>>('status');
      // That of a single machine answers only while it runs.
      return status.nodes?.some(({ state }) => state !== 'down') ?? true;
    } catch (error) {
      if (error instanceof CommandFailed && error.code === 'INSTALLATION_DOWN') return false;
      throw error;
    }
  }

  /** The volumes that no tour made. */
  async othersVolumes(): Promise<readonly Volume[]> {
    const volumes = await this.run<readonly Volume[]>('volume', 'ls');
    return volumes.filter(({ labels }) => !Object.hasOwn(labels, TOUR_LABEL));
  }

  /** Makes `name` a volume without content, in place of what an earlier tour left. Refuses the name where another has it. */
  async freshVolume(name: string, sizeBytes: number, replicas: number): Promise<void> {
    const volumes = await this.run<readonly Volume[]>('volume', 'ls');
    const known = volumes.find((volume) => volume.name === name);
    if (known !== undefined && !Object.hasOwn(known.labels, TOUR_LABEL)) {
      throw new Error(
        `Volume "${name}" in "${this.dataFolder}" was not made by a tour, which would remove it; give the tour its own place: npm start -- --data DIR`,
      );
    }
    const node = known?.attachment?.node;
    if (node != null) {
      await this.#unlessRefused('volume', 'unmount', name, '--node', node);
      await this.#unlessRefused('volume', 'detach', name, '--node', node);
    }
    if (known !== undefined) await this.#unlessRefused('volume', 'rm', name, '--now', '--yes');
    const wish = ['--size', String(sizeBytes), '--replicas', String(replicas)];
    await this.run('volume', 'create', name, ...wish, '--spread', 'zone', '--label', TOUR_LABEL);
  }

  /** There may be nothing to undo; what stands in the way for another reason, the creation names. */
  async #unlessRefused(...words: readonly string[]): Promise<void> {
    try {
      await this.run(...words);
    } catch (error) {
      if (!(error instanceof CommandFailed) || error.exitStatus !== 1) throw error;
    }
  }
}

type Ended = { readonly stdout: string; readonly stderr: string; readonly status: number };

async function runToEnd(
  program: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<Ended> {
  return await new Promise((resolve) => {
    // Detached: Ctrl-C is the tour's to handle, and must not end a command in the middle.
    const options = { maxBuffer: OUTPUT_BYTES_MAX, detached: true, ...(signal && { signal }) };
    execFile(program, args, options, (error, stdout, stderr) => {
      const code = error?.code;
      const status = error === null ? 0 : typeof code === 'number' ? code : 1;
      resolve({ stdout, stderr: stderr === '' ? (error?.message ?? '') : stderr, status });
    });
  });
}

type Problem = { readonly code: string; readonly detail: string; readonly wayOut?: string };

function parseProblem(stderr: string): Problem {
  const last = stderr.trimEnd().split('\n').at(-1) ?? '';
  try {
    const problem: Partial<Problem> = JSON.parse(last);
    return { code: '', detail: last, ...problem };
  } catch {
    return { code: '', detail: stderr.trimEnd() };
  }
}
