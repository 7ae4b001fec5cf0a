/** What the paths of the kill rig take and give. */

export type KillPlan = {
  readonly killCount: number;
  readonly seed: number;
  /** The load runs at most this long between two kills. */
  readonly uptimeMsMax: number;
  /** The bar: served again within this time. */
  readonly recoveryLimitMs: number;
  readonly onProgress: (line: string) => void;
  /** Is told what must be ended before the installation when the rig is. */
  readonly onStarted?: (end: () => Promise<void>) => void;
};

export type KillOutcome = {
  /** What was acknowledged and is not there, or failed where it had to wait. Empty is what the bar asks for. */
  readonly lost: readonly string[];
  readonly recoveryMs: readonly number[];
  /** Lines for people. */
  readonly facts: readonly string[];
};
