/** Compiles src/lib/checksum.wat and prints, or with `--write` writes, src/lib/checksum-wasm.ts. */

import { readFileSync, writeFileSync } from 'node:fs';
import loadWabt from 'wabt';

const SOURCE = new URL('../src/lib/checksum.wat', import.meta.url);
const TARGET = new URL('../src/lib/checksum-wasm.ts', import.meta.url);

/** The text of checksum-wasm.ts as it should be. */
export async function checksumModule(): Promise<string> {
  const wabt = await loadWabt();
  const module = wabt.parseWat('checksum.wat', readFileSync(SOURCE, 'utf8'));
  const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64');
  module.destroy();
  const lines = base64.match(/.{1,90}/g) ?? [];
  return [
    '/** Compiled from checksum.wat by tools/build-wasm.ts. Do not edit. */',
    `export const CHECKSUM_WASM_BASE64: string =`,
    lines.map((line) => `  '${line}'`).join(' +\n') + ';',
    '',
  ].join('\n');
}

if (process.argv[2] === '--write') writeFileSync(TARGET, await checksumModule());
