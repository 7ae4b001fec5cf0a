/**
 * What one operation through `env.io` costs, next to fio's io_uring on the same file: 4 KiB O_DIRECT reads and writes at
 * depth 1 and 32, a bare NOP through the ring, a ping-pong over a unix socket. One line each: rate, and CPU of this
 * process per operation, kernel threads not included.
 *
 *     node bench/io-micro.ts [--file PATH] [--size-mib 1024] [--seconds 2] [--io io_uring|node] [--flags all] [--no-fio]
 */

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { type NodeEnv, openEnv } from '../src/env/node/open-env.ts';
import type { Io } from '../src/env/io.ts';
import { FLAG_SETS, Ring } from '../src/env/uring/ring.ts';
import { openSyscalls } from '../src/env/uring/syscalls.ts';
import { openUringIo } from '../src/env/uring/uring-io.ts';

const BLOCK = 4096;
const DEPTHS: readonly number[] = [1, 32];
const MEMORY_BYTES = 1_048_576;
const NOP_COUNT = 500_000;

type Kind = 'read' | 'write';
type Target = { readonly fd: number; readonly blockCount: number; readonly seconds: number };

const { values } = parseArgs({
  options: {
    file: { type: 'string', default: path.join(os.tmpdir(), 'holdfast-io-micro.img') },
    'size-mib': { type: 'string', default: '1024' },
    seconds: { type: 'string', default: '2' },
    io: { type: 'string', default: 'io_uring' },
    flags: { type: 'string', default: 'best' },
    'no-fio': { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  const sizeBytes = Number(values['size-mib']) * 2 ** 20;
  makeFile(values.file, sizeBytes);
  const fd = fs.openSync(values.file, fs.constants.O_RDWR | fs.constants.O_DIRECT);
  const target = { fd, blockCount: sizeBytes / BLOCK, seconds: Number(values.seconds) };
  const kind = values.io === 'node' ? 'node' : 'io_uring';
  if (kind === 'io_uring') nops();
  for (const [name, env] of environments(kind)) {
    for (const operation of ['read', 'write'] as const) {
      for (const depth of DEPTHS) {
        await disk(name, env.io, { ...target, kind: operation, depth });
        if (!values['no-fio']) fio(operation, depth, target.seconds);
      }
    }
    await pingPong(name, env, target.seconds);
  }
  fs.closeSync(fd);
}

/** One, or with `--flags all` one per set of set-up flags. */
function environments(kind: 'io_uring' | 'node'): [string, NodeEnv][] {
  const env = openEnv({ io: kind, memoryBytes: MEMORY_BYTES });
  if (kind === 'node' || values.flags !== 'all') return [[kind, env]];
  return FLAG_SETS.map((flags) => {
    const ring = { entries: 1024, completionEntries: 8192, flags };
    const io = openUringIo({ memoryBytes: MEMORY_BYTES, ring });
    return [`io_uring 0x${flags.toString(16)}`, { ...env, io }];
  });
}

/** Written in full: reads of holes touch no disk. */
function makeFile(file: string, sizeBytes: number): void {
  if (fs.statSync(file, { throwIfNoEntry: false })?.size === sizeBytes) return;
  const fd = fs.openSync(file, 'w');
  const chunk = new Uint8Array(2 ** 20).fill(0x5a);
  for (let at = 0; at < sizeBytes; at += chunk.length) fs.writeSync(fd, chunk);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

class Stopwatch {
  readonly #started = performance.now();
  readonly #cpu = process.cpuUsage();

  print(what: string, count: number): void {
    const seconds = (performance.now() - this.#started) / 1000;
    const { user, system } = process.cpuUsage(this.#cpu);
    const rate = Math.round(count / seconds).toLocaleString('en');
    const cpuUs = ((user + system) / count).toFixed(2);
    process.stdout.write(`${what.padEnd(36)} ${rate.padStart(10)} ops/s  ${cpuUs} us CPU\n`);
  }
}

function nops(): void {
  const ring = new Ring(openSyscalls(), { entries: 32, completionEntries: 64 });
  for (const depth of DEPTHS) {
    const watch = new Stopwatch();
    for (let done = 0; done < NOP_COUNT;) {
      for (let i = 0; i < depth; i += 1) ring.sqe.fill(0, ring.take(), 16);
      ring.enter(1, true);
      for (; ring.ready > 0; done += 1) ring.advance();
    }
    watch.print(`ring: NOP, depth ${depth}`, NOP_COUNT);
  }
}

async function disk(
  name: string,
  io: Io,
  options: Target & { readonly kind: Kind; readonly depth: number },
): Promise<void> {
  const { fd, blockCount, kind, depth, seconds } = options;
  const endUs = io.nowUs() + seconds * 1e6;
  let count = 0;
  let running = depth;
  const submit = (index: number): void => {
    const at = Math.floor(Math.random() * blockCount) * BLOCK;
    if (kind === 'read') io.read(port, index, fd, at, index * BLOCK, BLOCK);
    else io.write(port, index, fd, at, index * BLOCK, BLOCK);
  };
  const port = io.port((index, result) => {
    if (result !== BLOCK) throw new Error(`${kind} gives ${result}`);
    count += 1;
    if (io.nowUs() < endUs) submit(index);
    else {
      running -= 1;
      if (running === 0) io.stop();
    }
  });
  const watch = new Stopwatch();
  for (let index = 0; index < depth; index += 1) submit(index);
  await io.run();
  watch.print(`${name}: 4 KiB ${kind}, depth ${depth}`, count);
}

/** 64 bytes there and back: one receive and one trySend on either side. */
async function pingPong(name: string, env: NodeEnv, seconds: number): Promise<void> {
  const { io, files } = env;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  const listener = await files.listen(path.join(folder, 's'));
  const endUs = io.nowUs() + seconds * 1e6;
  const sockets: number[] = [];
  let count = 0;
  let watch = new Stopwatch();
  const segments = Uint32Array.of(0, 64, 4096, 64);
  const port = io.port((index, result) => {
    if (result < 0) throw new Error(`a socket gives ${result}`);
    if (index < 2) {
      sockets[index] = result;
      if (sockets[0] === undefined || sockets[1] === undefined) return;
      watch = new Stopwatch();
      for (const side of [0, 1]) io.receive(port, 2 + side, sockets[side]!, side * 4096, 64);
      io.trySend(sockets[0], segments, 0, 1);
      return;
    }
    const side = index - 2;
    count += 1;
    if (io.nowUs() > endUs) {
      io.stop();
      return;
    }
    io.trySend(sockets[side]!, segments, side, 1);
    io.receive(port, index, sockets[side]!, side * 4096, 64);
  });
  io.accept(port, 0, listener);
  io.connect(port, 1, path.join(folder, 's'));
  await io.run();
  watch.print(`${name}: socket receive + trySend`, count);
  fs.rmSync(folder, { recursive: true });
}

function fio(kind: Kind, depth: number, seconds: number): void {
  let report: string;
  try {
    const options = `--name=raw --filename=${values.file} --direct=1 --ioengine=io_uring --bs=4k
      --rw=rand${kind} --iodepth=${depth} --runtime=${seconds} --time_based --output-format=json`;
    report = execFileSync('fio', options.split(/\s+/)).toString();
  } catch {
    process.stdout.write('fio: not installed, not compared\n');
    return;
  }
  const job = JSON.parse(report).jobs[0];
  const rate = Math.round(job[kind].iops).toLocaleString('en');
  const cpuUs = (((job.usr_cpu + job.sys_cpu) / 100) * 1e6) / job[kind].iops;
  const what = `fio:  4 KiB ${kind}, depth ${depth}`.padEnd(36);
  process.stdout.write(`${what} ${rate.padStart(10)} ops/s  ${cpuUs.toFixed(2)} us CPU\n`);
}

await main();
