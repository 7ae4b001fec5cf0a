/** The program is wrong. Never caught; the process exits and restarts. */
export class Bug extends Error {
  override name = 'Bug';
}

/** Throws {@link Bug} unless `condition` holds. On in production, like every assertion here. */
export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new Bug(claim);
}
