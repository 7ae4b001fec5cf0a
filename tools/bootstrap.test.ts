import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { TEST_PACKAGES, missing } from '../bootstrap/debian-packages.mjs';
import { isNewEnough } from '../bootstrap/node24.mjs';
import { isInstalled } from '../bootstrap/npm-packages.mjs';
import { ERRORS, fillTemplate } from '../src/model/errors.ts';
import { ROOT } from './tidy/sources.ts';

function inFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'hf-bootstrap-'));
  try {
    run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the setup knows by which program it sees each Debian package that a script of package.json names', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const lists = Object.values(scripts).flatMap((script) =>
    [...script.matchAll(/--(?:optional-)?packages=(\S+)/g)].map(([, list]) => list!),
  );
  assert.ok(lists.length > 0);
  for (const name of [...TEST_PACKAGES, ...lists.join(',').split(',')]) {
    assert.doesNotThrow(() => missing([name]), name);
  }
});

test('Node 24.15 and newer will do', () => {
  assert.deepEqual(['18.20.4', '24.14.9', '24.15.0', '26.0.0'].map(isNewEnough), [
    false,
    false,
    true,
    true,
  ]);
});

test('a step of the setup that is interrupted is the last one, whatever its program made of it', () => {
  const module = join(ROOT, 'bootstrap/node24.mjs');
  const step = (script: string): string => {
    const program = `import { explainEnd, runStep } from ${JSON.stringify(module)};
      runStep('sh', ['-c', ${JSON.stringify(script)}]).then((status) => console.log('went on', status),
        (error) => console.log('ended', explainEnd(error)));`;
    return spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
      .stdout;
  };
  assert.equal(step('exit 100'), 'went on 100\n');
  assert.equal(step('exit 130'), 'ended 130\n');
  assert.equal(step('trap : INT; kill -INT $PPID; sleep 1'), 'ended 130\n');
});

const MOUNTS =
  spawnSync('unshare', ['--mount', 'true']).status === 0 ? {} : { skip: 'mounting needs root' };

/** Plays a package whose scripts start a service, make a database cluster and enable a unit and an init script. */
const APT_GET = `#!/bin/sh
exec >&2
/usr/sbin/policy-rc.d; echo "policy $?"
cat /etc/postgresql-common/createcluster.d/holdfast.conf
mkdir -p /etc/systemd/system/some.target.wants /etc/rc2.d
ln -s /dev/null /etc/systemd/system/some.target.wants/new.service
ln -s /dev/null /etc/rc2.d/S01new
`;

test('no service is started or enabled by packages, and nothing of that is left', MOUNTS, () =>
  inFolder((folder) => {
    writeFileSync(join(folder, 'apt-get'), APT_GET, { mode: 0o755 });
    mkdirSync(join(folder, 'memory'));
    const module = join(ROOT, 'bootstrap/debian-packages.mjs');
    const program = `import { install } from ${JSON.stringify(module)}; await install(['postgresql']);`;
    // In folders of its own: those of the machine stay as they are.
    const commands = [
      `mount -t tmpfs tmpfs ${folder}/memory`,
      `mkdir ${folder}/memory/upper ${folder}/memory/work`,
      `mount -t overlay overlay -o lowerdir=/etc,upperdir=${folder}/memory/upper,workdir=${folder}/memory/work /etc`,
      'mount -t tmpfs tmpfs /usr/sbin',
      `PATH=${folder}:$PATH "$0" --input-type=module -e "$1" >&2`,
      'ls /usr/sbin /etc/postgresql-common/createcluster.d /etc/systemd/system/some.target.wants',
      'ls /etc/rc2.d | grep new',
    ];
    const words = ['--mount', 'sh', '-ec', commands.join('\n'), process.execPath, program];
    const { stdout, stderr, status } = spawnSync('unshare', words, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.match(stderr, /policy 101\ncreate_main_cluster = false\n/);
    const left = stdout.split('\n').filter((line) => line !== '' && !line.endsWith(':'));
    assert.deepEqual(left, ['K01new'], 'the unit is gone, and the script is a stop link');
  }),
);

test(
  'a script goes on without optional packages that cannot be had, and not without the others',
  MOUNTS,
  () =>
    inFolder((folder) => {
      writeFileSync(join(folder, 'apt-get'), '#!/bin/sh\nexit 100\n', { mode: 0o755 });
      writeFileSync(join(folder, 'script.mjs'), "console.log('it runs')");
      const runs = (option: string): string => {
        // There the program of the package is missing.
        const command = `mount -t tmpfs tmpfs /usr/sbin && PATH=${folder}:$PATH exec "$@"`;
        const script = relative(ROOT, join(folder, 'script.mjs'));
        const words = [join(ROOT, 'bootstrap/run.mjs'), `${option}=xfsprogs`, script];
        const all = ['--mount', 'sh', '-ec', command, 'sh', process.execPath, ...words];
        return spawnSync('unshare', all, { encoding: 'utf8' }).stdout;
      };
      assert.match(runs('--optional-packages'), /apt-get update failed: xfsprogs\nit runs\n$/);
      assert.doesNotMatch(runs('--packages'), /it runs/);
    }),
);

test('packages are installed when each that is not optional has the version of the lock file', () => {
  inFolder((folder) => {
    const installed = (version: string): boolean => {
      const lock = { 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { optional: true } };
      writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: lock }));
      const there = { packages: { 'node_modules/a': { version } } };
      writeFileSync(join(folder, 'node_modules/.package-lock.json'), JSON.stringify(there));
      return isInstalled(folder);
    };
    assert.equal(isInstalled(folder), false);
    mkdirSync(join(folder, 'node_modules'));
    assert.equal(installed('1.0.0'), true);
    assert.equal(installed('0.9.0'), false);
  });
});

/** Runs `bin/holdfast status` in a copy of this clone that has these parts, and says what it must say where packages are missing. */
function assertTellsMissing(
  folder: string,
  parts: readonly string[],
  command: readonly string[] = ['status'],
): void {
  for (const part of parts) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  const link = join(folder, 'link');
  symlinkSync('bin/holdfast', link);
  const { PACKAGES_MISSING } = ERRORS;
  const detail = fillTemplate(PACKAGES_MISSING.message, { home: realpathSync(folder) });
  const inWords = spawnSync(link, command, { encoding: 'utf8' });
  assert.equal(inWords.status, 1);
  assert.equal(inWords.stderr, `${detail}\n${PACKAGES_MISSING.wayOut}\n`);
  const { stderr } = spawnSync(link, [...command, '--output', 'json'], { encoding: 'utf8' });
  const problem: unknown = JSON.parse(stderr);
  assert.partialDeepStrictEqual(problem, { code: 'PACKAGES_MISSING', detail });
}

test('bin/holdfast says what to do where nothing is installed', () => {
  inFolder((folder) => assertTellsMissing(folder, ['bin', 'bootstrap', 'package-lock.json']));
});

test('bin/holdfast says what to do where packages are missing beside its Node', () => {
  inFolder((folder) => {
    const name = `node-${process.platform}-${process.arch}`;
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
    assertTellsMissing(folder, ['bin', 'bootstrap', 'package.json', 'src']);
  });
});

test('holdfast up starts nothing where only the packages of control are missing', () => {
  inFolder((folder) => {
    mkdirSync(join(folder, 'node_modules'));
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (['fastify', '.package-lock.json'].includes(name)) continue;
      symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
    }
    const data = join(folder, 'data');
    const parts = ['bin', 'bootstrap', 'package.json', 'package-lock.json', 'src'];
    assertTellsMissing(folder, parts, ['up', '--detach', '--data', data]);
    assert.equal(existsSync(data), false);
  });
});

test('bin/holdfast passes arguments and the exit status on', () => {
  const { status, stderr } = spawnSync(join(ROOT, 'bin/holdfast'), ['no such command'], {
    encoding: 'utf8',
  });
  assert.equal(status, 2);
  assert.match(stderr, /no such command/);
});
