/**
 * The power-pull test: numbered records, each flushed before its number is told to a witness on another machine. After
 * the cut, every record up to the last number that the witness saw must be there.
 *
 * The file is a ring of 4 KiB slots, record n in slot n % SLOT_COUNT, written in full before the first number is told:
 *
 *     bytes 0..7   magic "HFWITNES"
 *     8..23        id of the run, random
 *     24..31       number of the record, from 1; 0 in a slot not used yet
 *     32..4091     pattern of the number
 *     4092..4095   CRC-32 of all before
 */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { assert } from '../lib/assert.ts';

export const WITNESS_FILE_NAME = 'holdfast-witness.records';
/** 16 MiB: small enough to be written in a second, large enough that one flush never covers a whole turn. */
export const SLOT_COUNT = 4096;
/** Records of one flush. Those of the flush that the cut interrupts may be torn, and with them their slots. */
export const BATCH_COUNT_MAX = 64;

const SLOT_BYTES = 4096;
const MAGIC = Buffer.from('HFWITNES');
const ID_BYTES = 16;
const MISSING = -1;

export type Loss = { readonly firstNumber: number; readonly lastNumber: number };

export type CheckResult = {
  /** `unknown`: none of the records up to the last number can be looked for, or there is no file of a run: then only the user knows whether there was one. */
  readonly kind: 'kept' | 'lost' | 'unknown';
  readonly runId?: string;
  /** Records that had to be there: as many as the ring holds, up to the last number seen. */
  readonly expectedCount: number;
  readonly losses: readonly Loss[];
  /** Highest number found, which may be above the last one seen. */
  readonly highestNumber: number;
  readonly summary: string;
};

/** Writes numbered records. `next` returns only what is flushed. */
export class WitnessWriter {
  readonly runId: string;
  readonly #fd: number;
  readonly #id: Buffer;
  readonly #block: Buffer;
  #number = 0;

  /** Makes the file in `folder`, replacing an older one, and makes it durable with its directory entry. */
  constructor(folder: string) {
    this.#id = randomBytes(ID_BYTES);
    this.runId = this.#id.toString('hex');
    this.#block = Buffer.alloc(SLOT_BYTES);
    const path = join(folder, WITNESS_FILE_NAME);
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o600);
    for (let slot = 0; slot < SLOT_COUNT; slot++) this.#write(slot, 0);
    fsyncSync(this.#fd);
    const directory = openSync(dirname(path), constants.O_RDONLY);
    fsyncSync(directory);
    closeSync(directory);
  }

  /** Writes `count` more records, flushes once, and returns the number of the last: from now on all are promised. */
  next(count: number): number {
    assert(count >= 1 && count <= BATCH_COUNT_MAX, 'a batch is 1 to BATCH_COUNT_MAX records');
    for (let index = 0; index < count; index++) {
      this.#number++;
      this.#write(this.#number % SLOT_COUNT, this.#number);
    }
    fdatasyncSync(this.#fd);
    return this.#number;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #write(slot: number, number: number): void {
    formatRecord(this.#block, this.#id, number);
    writeSync(this.#fd, this.#block, 0, SLOT_BYTES, slot * SLOT_BYTES);
  }
}

/**
 * Looks for every record up to `lastNumber`, the last number that the witness saw, as far back as the ring holds them.
 * Slots that the interrupted flush may have torn are left out: it had at most {@link BATCH_COUNT_MAX} records, above the
 * highest number found.
 */
export function checkWitness(folder: string, lastNumber: number): CheckResult {
  const { numbers, hasFile, ...run } = readSlots(join(folder, WITNESS_FILE_NAME));
  const highestNumber = Math.max(0, ...numbers);
  const newestNumber = Math.max(lastNumber, highestNumber) + BATCH_COUNT_MAX;
  const firstNumber = Math.max(1, newestNumber - SLOT_COUNT + 1);
  const losses: Loss[] = [];
  for (let number = firstNumber; number <= lastNumber; number++) {
    // A slot may hold the record of a later turn: then this one was overwritten by it, not lost.
    if ((numbers[number % SLOT_COUNT] ?? MISSING) >= number) continue;
    const last = losses.at(-1);
    if (last?.lastNumber === number - 1)
      losses[losses.length - 1] = { ...last, lastNumber: number };
    else losses.push({ firstNumber: number, lastNumber: number });
  }
  const expectedCount = Math.max(0, lastNumber - firstNumber + 1);
  const found = { expectedCount, losses, highestNumber, ...run };
  if (!hasFile) {
    const summary = `Cannot say: there are no records of a run in "${folder}". If a run was there, the drive lost the whole file, which was flushed with its directory before the first number was printed`;
    return { ...found, kind: 'unknown', summary };
  }
  return conclude({ ...found, lastNumber });
}

function conclude(
  found: Omit<CheckResult, 'kind' | 'summary'> & { readonly lastNumber: number },
): CheckResult {
  const { lastNumber, ...rest } = found;
  const [first] = found.losses;
  if (found.expectedCount === 0) {
    const summary =
      `Cannot say: the ring holds the ${SLOT_COUNT - BATCH_COUNT_MAX} records before ${found.highestNumber} at most, ` +
      `and ${lastNumber} is older. Give the last number that the witness saw`;
    return { ...rest, kind: 'unknown', summary };
  }
  if (first === undefined) {
    const summary = `All ${found.expectedCount} flushed records up to ${lastNumber} are there`;
    return { ...rest, kind: 'kept', summary };
  }
  const ranges = found.losses.slice(0, 10).map((each) => `${each.firstNumber}..${each.lastNumber}`);
  const more = found.losses.length > 10 ? ` and ${found.losses.length - 10} more ranges` : '';
  const { highestNumber } = found;
  const beyond =
    highestNumber < lastNumber
      ? `. The highest that is there is ${highestNumber}: was ${lastNumber} printed by this run?`
      : '';
  const summary = `The drive lost flushed data: records ${ranges.join(', ')}${more}${beyond}`;
  return { ...rest, kind: 'lost', summary };
}

type Slots = {
  readonly hasFile: boolean;
  /** The number in each slot; {@link MISSING} where it is damaged, of another run, or beyond the end of the file. */
  readonly numbers: readonly number[];
  readonly runId?: string;
};

function readSlots(path: string): Slots {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    // What is there and cannot be read is lost.
    const hasFile = !(error instanceof Error && 'code' in error && error.code === 'ENOENT');
    return { hasFile, numbers: [] };
  }
  let id: Buffer | undefined;
  const numbers = Array.from({ length: SLOT_COUNT }, (_, slot) => {
    const record = parseRecord(bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES));
    if (record === undefined) return MISSING;
    id ??= record.id;
    return record.id.equals(id) ? record.number : MISSING;
  });
  return { hasFile: true, numbers, ...(id === undefined ? {} : { runId: id.toString('hex') }) };
}

function formatRecord(block: Buffer, id: Buffer, number: number): void {
  block.fill(number & 0xff);
  MAGIC.copy(block, 0);
  id.copy(block, 8);
  block.writeBigUInt64LE(BigInt(number), 24);
  block.writeUInt32LE(crc32(block.subarray(0, SLOT_BYTES - 4)), SLOT_BYTES - 4);
}

function parseRecord(block: Buffer): { id: Buffer; number: number } | undefined {
  if (block.length < SLOT_BYTES || !block.subarray(0, 8).equals(MAGIC)) return undefined;
  if (crc32(block.subarray(0, SLOT_BYTES - 4)) !== block.readUInt32LE(SLOT_BYTES - 4))
    return undefined;
  return { id: block.subarray(8, 8 + ID_BYTES), number: Number(block.readBigUInt64LE(24)) };
}
