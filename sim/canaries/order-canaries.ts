import { type Canary, patch } from './canary.ts';

/** Waiting and ordering: what is acknowledged, durable and reused when. */
export const ORDER_CANARIES: readonly Canary[] = [
  {
    number: 1,
    name: 'acknowledge before the record is written',
    focus: 'log',
    patches: [
      patch(
        'log.ts',
        'this.#submit(slot, 0);\n    return true;',
        'this.#submit(slot, 0);\n    this.#events.onWritten(lsn);\n    return true;',
      ),
    ],
  },
  {
    number: 2,
    name: 'overwrite in place without payload in the log',
    focus: 'log',
    patches: [
      patch(
        'changer.ts',
        'this.#direct = this.#directMask(piece, top);',
        'this.#direct = piece.mask;',
      ),
    ],
  },
  {
    number: 5,
    name: 'reuse a cell before its free is durable',
    focus: 'reuse',
    patches: [
      patch(
        'turn-keeper.ts',
        'allocator.settle(log.durableLsn);',
        'allocator.settle(log.sealedLsn);',
      ),
    ],
  },
  {
    number: 6,
    name: 'write directly over a trim that is not durable',
    focus: 'trim',
    patches: [patch('changer.ts', ' & ~softTrims.mask(top.cell, log.durableLsn)', '')],
  },
  {
    number: 7,
    name: 'apply logged payload after its cell was freed',
    focus: 'apply',
    patches: [patch('turn-keeper.ts', 'if (!payloads.running) {', 'if (log.durableLsn >= 0) {')],
  },
  {
    number: 8,
    name: 'no lock: a dead process writes into the next one',
    focus: 'late',
    patches: [
      patch(
        'open-drive.ts',
        'options.path, { direct: true, exclusive: true }',
        'options.path, { direct: true, exclusive: false }',
      ),
    ],
  },
  {
    number: 14,
    name: 'write a page before its change is durable',
    focus: 'log',
    patches: [
      patch(
        'page-writer.ts',
        'await whenDurable(newest);',
        'if (newest < 0) await whenDurable(newest);',
      ),
    ],
  },
  {
    number: 15,
    name: 'overwrite the referenced copy of a page',
    focus: 'log',
    patches: [
      patch(
        'directory.ts',
        '& WRITTEN) === 0 ? copy ^ 1 : copy;',
        '& WRITTEN) === 0 ? copy : copy;',
      ),
    ],
  },
  {
    number: 16,
    name: 'release the log before the superblock is durable',
    focus: 'ring',
    patches: [
      patch(
        'checkpoint.ts',
        'await pageWriter.writeAll();',
        'log.releaseTo(position);\n    await pageWriter.writeAll();',
      ),
    ],
  },
  {
    number: 17,
    name: 'sample the durable LSN when the fdatasync completes',
    focus: 'log',
    patches: [
      patch(
        'flusher.ts',
        'Math.max(this.#log.durableLsn, this.#captured)',
        'Math.max(this.#captured, this.#log.settledLsn)',
      ),
    ],
  },
  {
    number: 18,
    name: 'submit the fdatasync before the writes have completed',
    focus: 'log',
    patches: [
      patch(
        'flusher.ts',
        'this.#captured = this.#log.settledLsn;',
        'this.#captured = this.#log.sealedLsn;',
      ),
      patch(
        'flusher.ts',
        '(this.#asks[this.#first] ?? 0) <= settledLsn',
        '(this.#asks[this.#first] ?? 0) <= this.#log.sealedLsn',
      ),
    ],
  },
  {
    number: 19,
    name: 'retry a failed fdatasync',
    focus: 'fsync',
    patches: [
      patch(
        'flusher.ts',
        'this.#media.stop(`fdatasync failed (${result})`);\n      return;',
        'this.#start();\n      return;',
      ),
    ],
  },
  {
    number: 20,
    name: 'no gate for overlapping requests',
    focus: 'overlap',
    patches: [
      patch('gate.ts', 'a.extent === b.extent &&', 'a.extent === b.extent && a.extent < 0 &&'),
    ],
  },
  {
    number: 21,
    name: 'give the receive buffer back before its data is written',
    focus: 'any',
    patches: [
      patch(
        'changer.ts',
        'export class Changer {',
        'const LSNS = new Map<number, number>();\n\nexport class Changer {',
      ),
      patch(
        'changer.ts',
        'this.#drive.log.dataDone(piece.lsn);\n    this.#partDone(piece);',
        'this.#drive.log.dataDone(LSNS.get(index) ?? 0);',
      ),
      patch(
        'changer.ts',
        'piece.pending++;\n      counters.writes++;',
        'LSNS.set(piece.index * EXTENT_BLOCKS + from, piece.lsn);\n      counters.writes++;',
      ),
    ],
  },
  {
    number: 25,
    name: 'a trim needs space on a full drive',
    focus: 'full',
    patches: [
      patch(
        'changer.ts',
        'else if (!this.#takeCell(piece)) return;',
        'if (!this.#takeCell(piece)) return;',
      ),
    ],
  },
];
