/**
 * `node --import .../load.mjs`: loads the hooks named in HOLDFAST_TEST_HOOKS ("slow-flush-io,recording-io"), and only in
 * the engine. It is plain JavaScript because an older Node may start the program that starts the engine.
 */

if (process.argv.includes('engine')) {
  for (const name of (process.env['HOLDFAST_TEST_HOOKS'] ?? '').split(',')) {
    if (name !== '') await import(new URL(`./${name}.ts`, import.meta.url).href);
  }
}
