/** What an {@link import('./nbd-client.ts').NbdClient} is made of. */

import type { Berth } from './berths.ts';
import type { ClientState } from './client-state.ts';

export type NbdClientOptions = {
  readonly berth: Berth;
  /** Of the berth's completion indexes, the first of the client's. */
  readonly firstIndex: number;
  /** Arena of the client. */
  readonly address: number;
  /** Requests are named by slots below this, one at a time each. */
  readonly slotCount: number;
  readonly socketPath: string;
  readonly exportName: string;
  /** An export that is smaller is not taken. */
  readonly sizeBytes: number;
  /** `errno` is 0 or positive. */
  readonly onDone: (slot: number, errno: number) => void;
  readonly onState: (state: ClientState) => void;
};
