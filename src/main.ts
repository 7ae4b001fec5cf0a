/** Starts one role of Holdfast: `node src/main.ts ROLE [flags]`. */

/** By role: a function that runs it and returns the exit status. Each is loaded only when asked for. */
const ROLES: ReadonlyMap<string, (argv: readonly string[]) => Promise<number>> = new Map([
  ['engine', async (argv) => (await import('./engine/engine-main.ts')).engineMain(argv)],
  ['attacher', async (argv) => (await import('./attacher/attacher-main.ts')).attacherMain(argv)],
]);

const EXIT_USAGE = 2;

const [role = '', ...argv] = process.argv.slice(2);
const run = ROLES.get(role);
if (run === undefined) {
  process.stderr.write(
    `usage: main.ts ROLE [flags], ROLE one of: ${[...ROLES.keys()].join(', ')}\n`,
  );
  process.exit(EXIT_USAGE);
}
process.exit(await run(argv));
