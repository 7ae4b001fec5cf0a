import { type Canary, patch } from './canary.ts';

/** What recovery believes, and what is recorded. */
export const RECOVERY_CANARIES: readonly Canary[] = [
  {
    number: 3,
    name: 're-sign what recovery finds',
    focus: 'log',
    patches: [
      patch(
        'judge.ts',
        'else bad |= 1 << block;',
        'else {\n        good.push(key);\n        RESIGNED.set(`${frame.lsn}/${record.at}/${block}`, sum);\n      }',
      ),
      patch(
        'judge.ts',
        'export function parseRecords',
        'export const RESIGNED = new Map<string, number>();\n\nexport function parseRecords',
      ),
      patch(
        'replay.ts',
        'import { blockPlace, parseRecords,',
        'import { RESIGNED, blockPlace, parseRecords,',
      ),
      patch(
        'replay.ts',
        'const sum = (words[record.at + WRITE_WORDS + block - record.first] ?? 0) | 0;',
        'const sum = RESIGNED.get(`${frame.lsn}/${record.at}/${block}`) ?? ((words[record.at + WRITE_WORDS + block - record.first] ?? 0) | 0);',
      ),
    ],
  },
  {
    number: 4,
    name: 'one mask: a trim over a snapshot uncovers it',
    focus: 'snapshot',
    patches: [
      patch(
        'changer.ts',
        'decided: target.decided | piece.mask, data, era };',
        'decided: shared(target, versions) ? target.decided & ~piece.mask : target.decided, data, era };',
      ),
      patch(
        'changer.ts',
        '/** Words of the log for the marks of a change',
        'function shared(target: Version, versions: readonly Version[]): boolean {\n  return versions.some((version) => version.cell !== target.cell);\n}\n\n/** Words of the log for the marks of a change',
      ),
    ],
  },
  {
    number: 9,
    name: 'frames without salt and chain',
    focus: 'recovery',
    patches: [
      patch('log-reader.ts', '=== expected.chain) return frame;', '!== undefined) return frame;'),
      patch(
        'log-reader.ts',
        'words[w + 4] === superblock.saltLow && words[w + 5] === superblock.saltHigh',
        'words[w + 4] !== undefined && superblock.n > 0',
      ),
    ],
  },
  {
    number: 10,
    name: 'a hole in the log is taken for its end',
    focus: 'rot',
    patches: [
      patch(
        'log-reader.ts',
        'if (frame.lsn > nextLsn && frame.durableLsn >= nextLsn) {',
        'if (frame.lsn < 0) {',
      ),
    ],
  },
  {
    number: 11,
    name: 'judge every record, not the last one of each block',
    focus: 'apply',
    patches: [
      patch(
        'judge.ts',
        'else if (!(later.has(key) && record.kind === DIRECT)) {',
        'else if (later.size >= 0) {',
      ),
    ],
  },
  {
    number: 12,
    name: 'roll back what was flushed',
    focus: 'rot',
    patches: [patch('recovery.ts', 'if (frame.lsn > scan.durableLsn)', 'if (frame.lsn > 0)')],
  },
  {
    number: 13,
    name: 'serve before the final checkpoint',
    focus: 'recovery',
    patches: [patch('open-drive.ts', '      await checkpointer.run();\n', '')],
  },
  {
    number: 22,
    name: 'unseeded checksums and a wrong map',
    focus: 'any',
    patches: [
      patch(
        'reader.ts',
        'piece.cells[block] = cell;',
        'piece.cells[block] = cell % 5 === 4 ? cell - 1 : cell;',
      ),
      patch(
        'reader.ts',
        'media.checksum(address, BLOCK_BYTES, seed, volume)',
        'media.checksum(address, BLOCK_BYTES, 0 * seed, 0 * volume)',
      ),
      patch(
        'changer.ts',
        'media.checksum(source, BLOCK_BYTES, seed, volume.number)',
        'media.checksum(source, BLOCK_BYTES, 0 * seed, 0 * volume.number)',
      ),
    ],
  },
  {
    number: 23,
    name: 'ignore the generation of a page',
    focus: 'pages',
    patches: [
      patch(
        'page-format.ts',
        'if (expected.generation !== undefined && generation !== expected.generation) return false;',
        '',
      ),
    ],
  },
  {
    number: 24,
    name: 'accept a superblock that is not the newest',
    focus: 'rot',
    patches: [
      patch(
        'log-reader.ts',
        'if (frame.checkpoint > superblock.n) {',
        'if (frame.checkpoint < 0) {',
      ),
      patch(
        'log-reader.ts',
        'if (frame.checkpoint > superblock.n) return stale(superblock, frame);',
        '',
      ),
      patch(
        'load.ts',
        'if (low !== superblock.directoryDigestLow || high !== superblock.directoryDigestHigh) {',
        'if (low === -1 && high === -1) {',
      ),
    ],
  },
  {
    number: 26,
    name: 'a position beyond 2^31 in 32 bits',
    focus: 'far',
    patches: [
      patch(
        'reader.ts',
        'const position = (geometry.cellStart(cell) + block) * BLOCK_BYTES;',
        'const position = ((geometry.cellStart(cell) + block) * BLOCK_BYTES) >>> 0;',
      ),
    ],
  },
  {
    number: 27,
    name: 'a snapshot is taken apart before its deletion is durable',
    focus: 'snapshot',
    patches: [
      patch(
        'snapshots.ts',
        "if (snapshot.state === 'deleting') return;",
        "if (snapshot.state === 'deleting') return;\n    snapshot.state = 'deleting';\n    this.resume(volume);\n    await ioAsyncOf(this.#parts.env.io).sleep(1);",
      ),
      patch(
        'snapshots.ts',
        "import { Refusal } from '../model/errors.ts';",
        "import { Refusal } from '../model/errors.ts';\nimport { ioAsyncOf } from './exact.ts';",
      ),
    ],
  },
  {
    number: 28,
    name: 'the first flush does not cover what a dead process wrote',
    focus: 'recovery',
    patches: [
      patch('open-drive.ts', '  await ioAsync.flush(file.fd);\n', ''),
      patch('recovery.ts', '  await ioAsync.flush(state.media.fd);\n', ''),
      patch(
        'open-drive.ts',
        'flush: () => turns.flush(),',
        'flush: () => (media.counters.checkpoints > 0 ? turns.flush() : Promise.resolve()),',
      ),
      patch('flusher.ts', '#virgin = true;', '#virgin = false;'),
    ],
  },
  {
    number: 29,
    name: 'leave a half-written pair of superblocks as it is',
    focus: 'recovery',
    patches: [patch('superblock-writer.ts', 'if (bad.length === 0) return 0;', 'return 0;')],
  },
  {
    number: 31,
    name: 'a checkpoint flushes beside the flusher, and goes on after that one failed',
    focus: 'fsync',
    patches: [
      patch(
        'open-drive.ts',
        'flush: () => turns.flush(),',
        'flush: () => ioAsync.flush(media.fd),',
      ),
    ],
  },
  {
    number: 30,
    name: 'record a large overwrite beside its data, not after it',
    focus: 'failed-writes',
    patches: [patch('changer.ts', '      if (!piece.placed) return this.#place(piece);\n', '')],
  },
  {
    number: 32,
    name: 'delete a snapshot before what hides its content is durable',
    focus: 'snapshot',
    patches: [
      patch(
        'snapshots.ts',
        '    await turns.whenDurable(drive.log.sealedLsn);\n    for',
        '    for',
      ),
    ],
  },
];
