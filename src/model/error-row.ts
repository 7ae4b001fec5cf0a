/** A row of the table of errors. */

/** `now`: the same request may do better at once; `later`: after what it names changed; `never`: another request is needed. */
type Retry = 'now' | 'later' | 'never';

export type ErrorRow = {
  /** `{name}` is replaced by the detail of that name. Values are quoted in the template where people must see their ends. */
  readonly message: string;
  readonly retry: Retry;
  readonly http: number;
  /** 1 refused, 2 usage, 3 unreachable, 130 interrupted. */
  readonly exit: 1 | 2 | 3 | 130;
  /** What the user can do, printed on a line of its own. */
  readonly wayOut?: string;
};

export const row = (
  http: number,
  retry: Retry,
  message: string,
  options: { readonly exit?: ErrorRow['exit']; readonly wayOut?: string } = {},
): ErrorRow => ({
  message,
  retry,
  http,
  exit: options.exit ?? 1,
  ...(options.wayOut === undefined ? {} : { wayOut: options.wayOut }),
});
