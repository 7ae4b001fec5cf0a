/** What each check of `holdfast doctor` answers. */

/** ok; warning: it works, worse or less safely; problem: it does not work. */
export type Verdict = 'ok' | 'warning' | 'problem';

export type Check = {
  readonly name: string;
  readonly verdict: Verdict;
  readonly detail: string;
  /** What can be done; undefined where all is well. */
  readonly wayOut?: string;
};

export const ok = (name: string, detail: string): Check => ({ name, verdict: 'ok', detail });

export const warning = (name: string, detail: string, wayOut: string): Check => ({
  name,
  verdict: 'warning',
  detail,
  wayOut,
});

/** What keeps Holdfast from working. */
export const problem = (name: string, detail: string, wayOut: string): Check => ({
  name,
  verdict: 'problem',
  detail,
  wayOut,
});
