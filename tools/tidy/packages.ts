/** Rules about the packages that we use. */

import { missingEntries, withoutEngines } from '../complete-lock.ts';

type PackageJson = {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};

/** Each production dependency is named by a page that says what it saves us. */
export function checkDecisions(packageJson: PackageJson, pages: readonly string[]): string[] {
  const names = Object.keys({ ...packageJson.dependencies, ...packageJson.optionalDependencies });
  const named = new Set(pages.flatMap((page) => page.match(/@?[\w-]+(?:\/[\w-]+)?/g) ?? []));
  return names
    .filter((name) => !named.has(name))
    .map((name) => `package.json: no page of docs/decisions names ${name} and what it saves us`);
}

/** Versions are exact: the lock file is not all that installs look at. */
export function checkPins(packageJson: PackageJson): string[] {
  const all = {
    ...packageJson.dependencies,
    ...packageJson.devDependencies,
    ...packageJson.optionalDependencies,
  };
  return Object.entries(all)
    .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
    .map(([name, version]) => `package.json: ${name} "${version}" is not an exact version`);
}

/** The lock file is one that every npm takes. */
export function checkLock(packages: Parameters<typeof missingEntries>[0]): string[] {
  const missing = Object.keys(missingEntries(packages));
  const hasEngines = JSON.stringify(withoutEngines(packages)) !== JSON.stringify(packages);
  return [...missing, ...(hasEngines ? ['engines'] : [])].map(
    (what) => `package-lock.json: ${what}: run node tools/complete-lock.ts after npm install`,
  );
}
