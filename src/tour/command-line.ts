/** Holdfast as the tour sees it: the command line, as a user or a script would use it, and nothing else. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

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
  readonly enginePid: number;
  readonly ioKind: string;
  readonly warnings: readonly string[];
};

export type Volume = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly attachment: object | null;
};

type StatusJson = {
  readonly processes: Readonly<Record<string, { readonly pid: number | null } | undefined>>;
  readonly io: { readonly kind: string };
  readonly warnings: readonly string[];
};

export class CommandLine {
  readonly dataFolder: string;

  constructor(dataFolder: string) {
    this.dataFolder = dataFolder;
  }

  /** Runs one command and returns what it prints, JSON of a shape that the caller knows. Throws {@link CommandFailed}. */
  async run<Result = unknown>(...words: readonly string[]): Promise<Result> {
    return await this.#run(words);
  }

  /** Starts Holdfast. Rejects with an AbortError as soon as `signal` says so; what was started by then runs. */
  async up(driveSize: string, signal: AbortSignal): Promise<void> {
    await this.#run(['up', '--detach', '--drive-size', driveSize], signal);
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

  async status(): Promise<Status> {
    const status = await this.run<StatusJson>('status');
    const enginePid = status.processes['engine']?.pid ?? undefined;
    if (enginePid === undefined) throw new Error('holdfast status names no engine process');
    return { enginePid, ioKind: status.io.kind, warnings: status.warnings };
  }

  /** Whether something answers for this folder. */
  async isRunning(): Promise<boolean> {
    try {
      await this.run('status');
      return true;
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
  async freshVolume(name: string, sizeBytes: number): Promise<void> {
    if ((await this.othersVolumes()).some((volume) => volume.name === name)) {
      throw new Error(
        `Volume "${name}" in "${this.dataFolder}" was not made by a tour, which would remove it; give the tour its own place: npm start -- --data DIR`,
      );
    }
    await this.#unlessRefused('volume', 'unmount', name);
    await this.#unlessRefused('volume', 'detach', name);
    await this.#unlessRefused('volume', 'rm', name, '--now', '--yes');
    await this.run('volume', 'create', name, '--size', String(sizeBytes), '--label', TOUR_LABEL);
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
