import { type Canary, patch } from './canary.ts';

/** What a drive must know of the replicas on it. */
export const REPLICA_CANARIES: readonly Canary[] = [
  {
    number: 33,
    name: 'a mark in another frame than its change',
    focus: 'replicas',
    patches: [
      patch(
        'mark-log.ts',
        '  append(drive, { volume, extent, mark, grain: 0, isChange: true });\n',
        '  const late = LATE.get(volume);\n  LATE.set(volume, { extent, mark });\n  if (late !== undefined) append(drive, { volume, ...late, grain: 0, isChange: true });\n',
      ),
      patch(
        'mark-log.ts',
        '/** Marks what a piece changes',
        'const LATE = new WeakMap<Volume, { extent: number; mark: Mark }>();\n\n/** Marks what a piece changes',
      ),
    ],
  },
  {
    number: 34,
    name: 'open marks are not logged again by a checkpoint',
    focus: 'replicas',
    patches: [
      patch('checkpoint.ts', 'const marksLsn = await this.#logMarks();', 'const marksLsn = 0;'),
    ],
  },
  {
    number: 35,
    name: 'marks are logged again before the tail of the checkpoint',
    focus: 'replicas',
    patches: [
      patch(
        'checkpoint.ts',
        '    const position = log.position();\n    const marksLsn = await this.#logMarks();\n',
        '    const marksLsn = await this.#logMarks();\n    while (!log.seal()) await this.#turn();\n    const position = log.position();\n',
      ),
    ],
  },
  {
    number: 36,
    name: 'a superblock before its marks are durable',
    focus: 'replicas',
    patches: [
      patch(
        'checkpoint.ts',
        '    const marksLsn = await this.#logMarks();\n',
        '    let marksLsn = 0;\n',
      ),
      patch(
        'checkpoint.ts',
        '    await flush();\n    this.#superblock = superblock;',
        '    marksLsn = await this.#logMarks();\n    await flush();\n    this.#superblock = superblock;',
      ),
    ],
  },
  {
    number: 37,
    name: 'what a replica keeps is not forced durable',
    focus: 'replicas',
    patches: [patch('turn-keeper.ts', '    await this.whenDurable(lsn);\n', '')],
  },
  {
    number: 38,
    name: 'a life outlives a power cut',
    focus: 'replicas',
    patches: [
      patch(
        'life.ts',
        'clean || (this.#isOfThisBoot && this.#boot.noted(this.#name))',
        'clean || life > 0',
      ),
    ],
  },
  {
    number: 39,
    name: 'a life ends with a kill',
    focus: 'replicas',
    patches: [
      patch('life.ts', 'clean || (this.#isOfThisBoot && this.#boot.noted(this.#name))', 'clean'),
    ],
  },
  {
    number: 40,
    name: 'a superblock says clean while the drive is open',
    focus: 'replicas',
    patches: [patch('checkpoint.ts', '      clean: false,\n', '')],
  },
  {
    number: 41,
    name: 'a drop takes marks of changes that are not durable everywhere',
    focus: 'replicas',
    patches: [
      patch(
        'marks.ts',
        'if (mark.epoch >= epoch && mark.number >= number) continue;',
        'if (mark.epoch > epoch && mark.number > number) continue;',
      ),
    ],
  },
  {
    number: 42,
    name: 'a stamp that only the memory has',
    focus: 'replicas',
    patches: [
      patch(
        'replay.ts',
        'if (record.type === STAMP) await this.#stamp(frame, record);',
        'if (record.type === STAMP) continue;',
      ),
      patch(
        'replica-volume.ts',
        '    writeOwner(this.#parts.drive, cell, lsn, [volume.number, extent, birth, epoch, masks, 0]);\n',
        '    void lsn;\n    void masks;\n',
      ),
      patch('replica-volume.ts', "import { writeOwner } from './owner-entries.ts';\n", ''),
    ],
  },
  {
    number: 43,
    name: 'a life outlives a failed fdatasync',
    focus: 'replicas',
    patches: [patch('life.ts', 'this.#boot.takeBack(this.#name);', '')],
  },
  {
    number: 44,
    name: 'a superblock before its marks are written',
    focus: 'replicas',
    patches: [
      patch(
        'checkpoint.ts',
        'while (log.settledLsn < marksLsn) await this.#turn();',
        'while (log.settledLsn < 0) await this.#turn();',
      ),
    ],
  },
];
