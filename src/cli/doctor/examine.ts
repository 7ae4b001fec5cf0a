/** Everything that the doctor looks at. */

import type { Context } from '../context.ts';
import type { Check } from './check.ts';
import { checkInstallation } from './installation.ts';
import { checkMachine } from './machine.ts';

/** Checks the machine, then the installation. */
export async function examine({ installation, api }: Context): Promise<Check[]> {
  return [...checkMachine(), ...(await checkInstallation(installation, api))];
}
