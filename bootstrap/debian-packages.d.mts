/** The folders that Debian's PostgreSQL packages put their programs in, newest version first. */
export function postgresFolders(): string[];
/** Where Debian has libfaketime: in a folder of the architecture's, of which there is one. */
export function faketimeLibraries(): string[];
/** Those of `packages` whose programs are not here. */
export function missing(packages: readonly string[]): string[];
/** What `npm test` needs. */
export const TEST_PACKAGES: readonly string[];
