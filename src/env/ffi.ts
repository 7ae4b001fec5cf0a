/**
 * The door to C functions: koffi, loaded when first needed, so that a platform without it can still run on the
 * Node maker. Every signature that Holdfast calls is written in env/uring/syscalls.ts, env/node/libc.ts, env/node/evp.ts or env/linux/raw-sockets.ts and nowhere else;
 * docs/memory-safety.md says how they are checked at start.
 */

import { createRequire } from 'node:module';
import process from 'node:process';

import { EIO, ERRNO_BY_NAME } from '../model/errno.ts';

/** What is used of koffi. Its own types say `any`; these say what the signatures in our two tables need. */
export type Ffi = {
  readonly version: string;
  /** Looks the function up in the running program (libc and, for `uv_*`, Node itself). Throws if it is missing. */
  // The caller's type is the claim about the signature; the self-test is what checks it.
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters
  readonly func: <F>(definition: string) => F;
  /** Like `func`, but the call runs on a thread of Node's pool. Only for functions that return their errno. */
  readonly funcAsync: (definition: string) => (...values: number[]) => Promise<number>;
  /** The C library's errno after the call just made. Read it at once: anything in between may overwrite it. */
  readonly errno: () => number;
  /** Address of the first byte of an ArrayBuffer. */
  readonly address: (buffer: ArrayBuffer) => number;
  /** An ArrayBuffer over `lengthBytes` of memory at `pointer`, as a mapping function returned it. Never freed by the collector. */
  readonly view: (pointer: unknown, lengthBytes: number) => ArrayBuffer;
  /** Numeric value of a pointer that a function returned. */
  readonly pointerAddress: (pointer: unknown) => number;
  readonly sizeof: (type: string) => number;
};

type Koffi = {
  readonly version: string;
  load(path: null): { func(definition: string): unknown };
  errno(): number;
  /** The system's numbers by name. */
  readonly os: { readonly errno: Readonly<Record<string, number>> };
  address(value: unknown): bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
  sizeof(type: string): number;
};

const IS_LINUX = process.platform === 'linux';

let loaded: Ffi | undefined;

/** Returns the one Ffi of the process. Throws koffi's error where it cannot be loaded. */
export function openFfi(): Ffi {
  loaded ??= load();
  return loaded;
}

function load(): Ffi {
  const koffi: Koffi = createRequire(import.meta.url)('koffi');
  // null is the running program itself: its symbols include the C library's, whatever the platform calls that file.
  const program = koffi.load(null);
  return {
    version: koffi.version,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion, typescript/no-unnecessary-type-parameters
    func: <F>(definition: string): F => program.func(definition) as F,
    funcAsync: (definition) => promised(program.func(definition)),
    errno: IS_LINUX ? () => koffi.errno() : () => asOfLinux(koffi.errno(), koffi.os.errno),
    address: (buffer) => Number(koffi.address(buffer)),
    view: (pointer, lengthBytes) => koffi.view(pointer, lengthBytes),
    pointerAddress: (pointer) => Number(koffi.address(pointer)),
    sizeof: (type) => koffi.sizeof(type),
  };
}

/** Linux's number for `errno`, which the running system has under one of `names`; EIO for what Holdfast has no name for. */
export function asOfLinux(errno: number, names: Readonly<Record<string, number>>): number {
  for (const [name, number] of Object.entries(ERRNO_BY_NAME)) {
    if (names[name] === errno) return number;
  }
  return EIO;
}

type Asynchronous = { readonly async: (...values: unknown[]) => void };

function promised(made: unknown): (...values: number[]) => Promise<number> {
  // What koffi returns for every function.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const call = made as Asynchronous;
  return (...values) =>
    new Promise((resolve, reject) => {
      call.async(...values, (error: Error | null, result: number) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
}
