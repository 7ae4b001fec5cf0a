/** One program, several roles: `engine`, `attacher` and `control` are started by the supervisor; everything else is the CLI. */

const [role, ...rest] = process.argv.slice(2);
const isRole = role === 'engine' || role === 'attacher' || role === 'control';
// Lines that the log has no room for are lost. Without a listener the first of them would end the process.
if (isRole) process.stderr.on('error', () => undefined);

async function main(): Promise<number> {
  switch (role) {
    case 'engine': {
      const { engineMain } = await import('./engine/engine-main.ts');
      return engineMain(rest);
    }
    case 'attacher': {
      const { attacherMain } = await import('./attacher/attacher-main.ts');
      return attacherMain(rest);
    }
    case 'control': {
      const { controlMain } = await import('./control/control-main.ts');
      return controlMain(rest);
    }
    default: {
      const { cliMain } = await import('./cli/cli-main.ts');
      return cliMain(process.argv.slice(2));
    }
  }
}

/** Packages that are not there: an `npm ci` that was interrupted, or a pull that wants others. */
async function tellMissing(error: unknown): Promise<number> {
  const isMissing =
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND') &&
    /^Cannot find (package|module '[^']*\/node_modules\/)/.test(error.message);
  if (!isMissing) throw error;
  const npmPackages = await import('../bootstrap/npm-packages.mjs');
  return npmPackages.tellMissing(process.argv.slice(2));
}

process.exitCode = await main().catch(tellMissing);
// The roles' reactors and sockets are closed by now; what a library still holds must not keep the process.
if (isRole) process.exit();
