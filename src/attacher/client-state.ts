/** What an attachment's I/O does at the moment, for listings and logs. */

export type ClientState =
  /** No engine answers; `problem` says how. */
  | { readonly kind: 'waiting'; readonly problem: string; readonly sinceMs: number }
  | { readonly kind: 'serving'; readonly sinceMs: number }
  /** For good: every request fails. */
  | { readonly kind: 'ended'; readonly problem: string; readonly sinceMs: number };

/** The state after `known`: while only the problem of a wait changes, the wait keeps its beginning. */
export function nextState(known: ClientState, state: ClientState): ClientState {
  if (known.kind !== 'waiting' || state.kind !== 'waiting') return state;
  return known.problem === state.problem ? known : { ...state, sinceMs: known.sinceMs };
}
