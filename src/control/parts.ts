/** What the use cases of control share. */

import type { MadeLog } from '../attacher/made-log.ts';
import type { Turnstile } from '../lib/turnstile.ts';
import type { Log } from '../model/log.ts';
import type { LogEvent } from '../model/log-events.ts';
import type { EventRecord, Subject } from '../model/records.ts';
import type { Installation } from './installation.ts';
import type { LineClient } from './line-client.ts';
import type { ProgressBoard } from './progress.ts';
import type { RecordsStore } from './records-store.ts';

export type ControlParts = {
  readonly installation: Installation;
  readonly records: RecordsStore;
  readonly engine: LineClient;
  readonly attacher: LineClient;
  /** Its name in the cluster; undefined on a single machine. */
  readonly node?: string | undefined;
  readonly made: MadeLog;
  readonly log: Log;
  /** One change at a time for each drive and volume. */
  readonly turnstile: Turnstile;
  readonly wallMs: () => number;
  /** Names the run of the machine, from its boot to its end. */
  readonly bootId: string;
  /** A fresh UUID. */
  readonly newId: () => string;
  /** 32 fresh hex digits. */
  readonly newAttachId: () => string;
  /** The operations that this process drives. */
  readonly progress: ProgressBoard;
  /** Asks for a reconciliation: something wanted could not be done yet. */
  readonly askReconcile: () => void;
  /** Called after each step that was recorded or done; tests end the process in here. */
  readonly onStep: (step: string) => void;
};

/** Notes something that people should hear of: in the records, for a while, and in the log. */
export async function tell(
  parts: Pick<ControlParts, 'records' | 'log' | 'newId' | 'wallMs' | 'node'>,
  kind: LogEvent,
  told: { readonly subject: Subject; readonly what: string; readonly cause?: string | undefined },
): Promise<void> {
  const { node } = parts;
  const event: EventRecord = {
    id: parts.newId(),
    atMs: parts.wallMs(),
    kind,
    ...told,
    ...(node === undefined ? {} : { node }),
  };
  parts.log(kind, told);
  await parts.records.putEvent(event);
}
