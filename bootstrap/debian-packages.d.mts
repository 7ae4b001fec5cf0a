/** The folders that Debian's PostgreSQL packages put their programs in, newest version first. */
export function postgresFolders(): string[];
/** Those of `packages` whose programs are not here. */
export function missing(packages: readonly string[]): string[];
/** What `npm test` needs. */
export const TEST_PACKAGES: readonly string[];
