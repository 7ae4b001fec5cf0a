/** Control's part for one replicated volume: keeps its record, and carries out the transactions that its heads ask for. */

import { setTimeout as sleep } from 'node:timers/promises';

import type { JsonObject } from '../../src/wire/line-protocol.ts';
import type { EngineProcess } from './engine-process.ts';

/** As recordJson makes it. */
export type StoredRecord = JsonObject & {
  readonly epoch: number;
  readonly writer: string;
  readonly members: readonly (readonly [string, number])[];
};

export type KeptVolume = {
  readonly uuid: string;
  readonly attachId: string;
  readonly sizeBytes: number;
};

type News = {
  readonly transactions: readonly {
    readonly expected: StoredRecord;
    readonly next: StoredRecord;
  }[];
};

const isNews = (answer: object): answer is News => 'transactions' in answer;

/** The node of each replica that is not on the engine of the head. */
export type Places = { readonly [replica: string]: string };

export class RecordKeeper {
  record: StoredRecord;
  volume: KeptVolume;
  #starts = 0;
  /** Of the loop that asks; another one is over. */
  #asking = 0;

  /** Of a volume that was never served, attached; `members`: replicas with the lives of their drives. */
  constructor(volume: KeptVolume, members: readonly (readonly [string, number])[]) {
    this.volume = volume;
    this.record = {
      lineage: 1,
      epoch: 1,
      writer: 'f0'.repeat(16),
      attachment: { attachId: volume.attachId, boot: 'bb'.repeat(16) },
      members,
      minimum: 1,
      sizeBytes: volume.sizeBytes,
    };
  }

  /** Attaches the volume anew: a head of before is none any more. */
  attach(attachId: string): void {
    this.volume = { ...this.volume, attachId };
    const attachment = { attachId, boot: 'bb'.repeat(16) };
    const epoch = this.record.epoch + 1;
    this.record = { ...this.record, epoch, writer: attachId, head: undefined, attachment };
  }

  /** Starts a head on `engine`, beside the replica `local`, and does what it asks for; resolves with the path of its socket. */
  async serve(
    engine: EngineProcess,
    local: string | undefined,
    places: Places = {},
  ): Promise<string> {
    void this.#keep(engine, ++this.#asking);
    return await this.start(engine, local, places);
  }

  /** Starts a head that nobody listens to. */
  async start(
    engine: EngineProcess,
    local: string | undefined,
    places: Places = {},
  ): Promise<string> {
    const { uuid, attachId } = this.volume;
    const head = { engine: 'ee'.repeat(16), start: ++this.#starts, attempt: 1 };
    const how = { uuid, attachId, record: this.record, head, local, places, clientLives: true };
    const { socketPath } = await engine.call('head.start', how);
    return String(socketPath);
  }

  /** Does nothing more that heads ask for. */
  stop(): void {
    this.#asking += 1;
  }

  async #keep(engine: EngineProcess, own: number): Promise<void> {
    const { uuid } = this.volume;
    while (this.#asking === own) {
      // A call that hears nothing for a minute is given up, and made again.
      const news = await engine.call('head.next').catch(() => undefined);
      if (news === undefined || !isNews(news)) {
        await sleep(50);
        continue;
      }
      for (const { expected, next } of news.transactions) {
        if (this.#asking !== own) return;
        const isHeld =
          expected.epoch === this.record.epoch && expected.writer === this.record.writer;
        if (isHeld) this.record = next;
        const kind = isHeld ? { kind: 'committed' } : { kind: 'conflict', record: this.record };
        await engine
          .call('head.outcome', { uuid, writer: next.writer, ...kind })
          .catch(() => undefined);
      }
    }
  }
}
