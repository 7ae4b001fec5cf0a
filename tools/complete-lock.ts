/**
 * `node tools/complete-lock.ts`: makes package-lock.json, as `npm install` left it, one that `npm ci` takes everywhere.
 *
 * It gets an entry for every optional package that a package in it names: a registry's mirror may lack the builds for
 * other platforms, `npm install` then leaves them out, and `npm ci` refuses that file. An entry without an address and a
 * hash is fetched by name and version where it fits the platform, and nowhere else.
 *
 * And it loses the `engines`: npm runs on the Node that is there, and would skip optional packages that need a newer one
 * (the linter's binary), but they run on the Node 24 that we bring.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Entry = {
  readonly version?: string;
  readonly dev?: boolean;
  readonly engines?: unknown;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};
type Packages = Record<string, Entry>;
type Lock = { packages: Packages };

const LOCK_PATH = fileURLToPath(new URL('../package-lock.json', import.meta.url));

/** Builds bear their platform in their name: `@oxlint/binding-linux-arm64-musl`, `@koromix/koffi-win32-x64`. */
const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openbsd', 'openharmony', 'win32'];
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64'];

/** Entries that `packages` lacks, by path. */
export function missingEntries(packages: Packages): Packages {
  const entries: Packages = {};
  for (const [path, { dev, optionalDependencies }] of Object.entries(packages)) {
    if (path === '') continue;
    for (const [name, version] of Object.entries(optionalDependencies ?? {})) {
      const nested = packages[`${path}/node_modules/${name}`];
      if (nested !== undefined || packages[`node_modules/${name}`] !== undefined) continue;
      entries[`node_modules/${name}`] = {
        version,
        ...(dev === true ? { dev } : {}),
        ...platformOf(name),
      };
    }
  }
  return entries;
}

/** Our own entry keeps its `engines`: it is what a user must have. */
export function withoutEngines(packages: Packages): Packages {
  return Object.fromEntries(
    Object.entries(packages).map(([path, entry]) => {
      const { engines: _, ...rest } = entry;
      return [path, path === '' ? entry : rest];
    }),
  );
}

/** What npm reads off a package to decide whether it fits. */
function platformOf(name: string): object {
  const words = name.split(/[-/]/);
  const os = words.find((word) => SYSTEMS.includes(word));
  const cpu = words.find((word) => PROCESSORS.includes(word));
  if (os === undefined || cpu === undefined) {
    throw new Error(`Cannot tell the platform of "${name}" from its name`);
  }
  const libc = name.includes('musl') ? ['musl'] : name.includes('gnu') ? ['glibc'] : undefined;
  return { cpu: [cpu], ...(libc === undefined ? {} : { libc }), optional: true, os: [os] };
}

function completeLock(): void {
  const lock: Lock = JSON.parse(readFileSync(LOCK_PATH, 'utf8'));
  const entries = missingEntries(lock.packages);
  const all = Object.entries({ ...withoutEngines(lock.packages), ...entries });
  lock.packages = Object.fromEntries(all.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(LOCK_PATH, `${JSON.stringify(lock, undefined, 2)}\n`);
  for (const path of Object.keys(entries)) process.stdout.write(`added ${path}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) completeLock();
