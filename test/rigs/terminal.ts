/** A program on a terminal of its own, as a user has it: what it shows, and what is typed to it. By script(1) of util-linux. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';

import { until } from './attach-rig.ts';

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

export class Terminal {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown[]>;
  /** All that was shown, with its control characters. */
  text = '';

  /** `columns` wide. */
  constructor(
    words: readonly string[],
    options: { readonly columns: number; readonly env?: Readonly<Record<string, string>> },
  ) {
    const command = `stty rows 24 cols ${options.columns}; exec ${words.map(quote).join(' ')}`;
    // NO_COLOR of whoever runs the tests is not that of the program; with CI set Node takes no terminal for one that has colors.
    const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...env } = process.env;
    this.#child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...env, TERM: 'xterm', SHELL: '/bin/sh', ...options.env },
    });
    this.#exit = once(this.#child, 'exit');
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.text += chunk.toString()));
  }

  /** Types; `\u0003` is Ctrl-C. */
  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  async until(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.text) || this.#child.exitCode !== null);
    if (!pattern.test(this.text)) throw new Error(`${pattern} was not shown: ${this.text}`);
  }

  /** Its exit status, as a shell has it. */
  async end(): Promise<number> {
    const [code] = await this.#exit;
    return Number(code);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
