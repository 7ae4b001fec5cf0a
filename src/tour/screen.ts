/** What the tour prints: steps with the time that each took, and a line of progress within one. */

const WIDTH = 64;

export class Screen {
  readonly #isTerminal = process.stdout.isTTY;
  #progressShown = false;
  #progressAtMs = 0;

  line(text: string): void {
    this.#clear();
    process.stdout.write(`${text}\n`);
  }

  /** Runs one step and prints its title, what came of it (the string that `run` gives, if it gives one), and its seconds. */
  async step<Outcome>(title: string, run: () => Promise<Outcome>): Promise<Outcome> {
    const startedAtMs = performance.now();
    if (this.#isTerminal) this.progress(`${title} …`);
    const outcome = await run();
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    const isSaid = typeof outcome === 'string' && outcome !== '';
    const text = isSaid ? `${title}: ${outcome}` : title;
    this.line(`${text.padEnd(WIDTH)} ${seconds.padStart(6)} s`);
    return outcome;
  }

  /** Shows how far a step is: over itself on a terminal, else as a line every few seconds. */
  progress(text: string): void {
    if (this.#isTerminal) {
      this.#clear();
      process.stdout.write(text.slice(0, process.stdout.columns - 1));
      this.#progressShown = true;
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#progressAtMs < 5000) return;
    this.#progressAtMs = nowMs;
    process.stdout.write(`  ${text}\n`);
  }

  #clear(): void {
    if (!this.#progressShown) return;
    process.stdout.write('\r\u001B[K');
    this.#progressShown = false;
  }
}
