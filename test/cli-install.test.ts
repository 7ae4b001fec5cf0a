/** holdfast install below a folder: what it writes, what systemd says of it, and that it leaves what is not its own. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';

import { useCliRig } from './rigs/cli-rig.ts';
import { NO_ETCD } from './rigs/etcd-process.ts';

const rig = useCliRig();
const prefix = path.join(rig.directory, 'image');
const data = path.join(rig.directory, 'with space and 100%');
const UNITS = ['engine', 'attacher', 'control', 'mounts'].map((name) => `holdfast-${name}.service`);
const unitPath = (name: string): string => path.join(prefix, 'etc/systemd/system', name);
const install = (...words: string[]) =>
  rig.run(['install', '--prefix', prefix, '--data', data, ...words]);

before(() => fs.mkdirSync(prefix));

/** Files and links below `prefix`. */
function written(): string[] {
  return fs
    .readdirSync(prefix, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(prefix, path.join(entry.parentPath, entry.name)))
    .toSorted();
}

test('a dry run shows all that is written, and writes nothing', async () => {
  const { code, out } = await install('--dry-run');
  assert.equal(code, 0);
  for (const unit of UNITS) assert.ok(out.includes(`Writes ${unitPath(unit)}:\n`), unit);
  assert.deepEqual(written(), []);
});

test('install writes once, and systemd reads it as it is meant', async () => {
  assert.equal((await install()).code, 0);
  assert.deepEqual(written(), [
    'etc/systemd/system/holdfast-attacher.service',
    'etc/systemd/system/holdfast-control.service',
    'etc/systemd/system/holdfast-engine.service',
    'etc/systemd/system/holdfast-mounts.service',
    'etc/systemd/system/holdfast.target',
    'etc/systemd/system/multi-user.target.wants/holdfast.target',
    'etc/udev/rules.d/59-holdfast.rules',
    'usr/local/bin/holdfast',
  ]);
  assert.ok(fs.realpathSync(path.join(prefix, 'usr/local/bin/holdfast')).endsWith('bin/holdfast'));
  assert.match((await install()).out, /^All is there already\n/);
  const engine = fs.readFileSync(unitPath('holdfast-engine.service'), 'utf8');
  const quoted = `"${data.replace('%', '%%')}"`;
  assert.ok(engine.includes(` engine --data ${quoted}\n`), engine);
  assert.ok(engine.includes(`RequiresMountsFor=${quoted}\n`), engine);
  for (const unit of UNITS) {
    const text = fs.readFileSync(unitPath(unit), 'utf8');
    assert.doesNotMatch(text, /^(Requires|BindsTo|Requisite)=/m, 'none stops another');
    assert.match(text, /^PartOf=holdfast.target$/m);
    assert.ok(linesOf(text).includes(BEFORE), unit);
  }
});

const BEFORE = 'Before=docker.service containerd.service kubelet.service crio.service';
const AT_ONCE_AND_FOR_EVER = ['Restart=always', 'RestartSec=200ms', 'StartLimitIntervalSec=0'];
const KEPT = ['OOMScoreAdjust=-900', 'OOMPolicy=continue', 'ManagedOOMPreference=omit'];
/** What docs/install.md promises, line by line: a machine where systemd runs them is not always to be had. */
const PROMISED: Readonly<Record<string, readonly string[]>> = {
  'holdfast-engine.service': ['Type=notify', ...AT_ONCE_AND_FOR_EVER, ...KEPT],
  'holdfast-attacher.service': [
    'Type=notify',
    'After=holdfast-engine.service',
    'RefuseManualStop=yes',
    'NotifyAccess=all',
    ...AT_ONCE_AND_FOR_EVER,
    ...KEPT,
  ],
  'holdfast-control.service': [
    'Type=notify',
    'After=holdfast-engine.service',
    'After=holdfast-attacher.service',
    'KillMode=process',
    ...AT_ONCE_AND_FOR_EVER,
  ],
  // Up from its start to its stop, which comes before those that it is after.
  'holdfast-mounts.service': [
    'Type=oneshot',
    'RemainAfterExit=yes',
    'After=holdfast-control.service',
    'RefuseManualStop=yes',
    'TimeoutStopSec=90s',
  ],
  'holdfast.target': [`Wants=${UNITS.join(' ')}`, BEFORE, 'WantedBy=multi-user.target'],
};

const linesOf = (text: string): readonly string[] => text.split('\n');

test('units and rule are what the documentation promises', () => {
  for (const [unit, promised] of Object.entries(PROMISED)) {
    const lines = linesOf(fs.readFileSync(unitPath(unit), 'utf8'));
    for (const line of promised) assert.ok(lines.includes(line), `${unit}: ${line}`);
  }
  const mounts = fs.readFileSync(unitPath('holdfast-mounts.service'), 'utf8');
  assert.match(mounts, /^ExecStop=.* down --release --data /m);
  const rule = fs.readFileSync(path.join(prefix, 'etc/udev/rules.d/59-holdfast.rules'), 'utf8');
  assert.match(rule, /^KERNEL=="loop\[0-9\]\*", ATTR{loop\/backing_file}==".*\/fuse\/\*", GOTO/m);
  assert.match(rule, /^KERNEL=="nbd\[0-9\]\*", ATTR{backend}=="(\[0-9a-f\]){32}", GOTO/m);
  const away = [
    'UDISKS_IGNORE}="1"',
    'UDISKS_AUTO}="0"',
    'UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"',
    'DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"',
    'DM_MULTIPATH_DEVICE_PATH}="0"',
  ];
  for (const property of away) assert.ok(rule.includes(`ENV{${property}`), property);
});

test('an older unit of ours is renewed, one of somebody else refused', async () => {
  const unit = unitPath('holdfast-control.service');
  const text = fs.readFileSync(unit, 'utf8');
  fs.writeFileSync(unit, text.replace('Restart=always', 'Restart=no'));
  assert.match((await install()).out, /^Writes .*holdfast-control.service\nholdfast up/);
  assert.equal(fs.readFileSync(unit, 'utf8'), text);

  fs.writeFileSync(unit, '[Service]\nExecStart=/bin/true\n');
  fs.rmSync(unitPath('holdfast-engine.service'));
  const refused = await install();
  assert.equal(refused.code, 1);
  assert.match(
    refused.err,
    /holdfast-control.service" is there, and not of holdfast install\nMove/,
  );
  assert.ok(!fs.existsSync(unitPath('holdfast-engine.service')), 'nothing was written');
});

test('--remove takes away what is ours, and nothing else', async () => {
  const link = path.join(prefix, 'usr/local/bin/holdfast');
  fs.rmSync(link);
  fs.symlinkSync('../lib/node_modules/holdfast/bin/holdfast', link);
  assert.equal((await install('--remove')).code, 0);
  assert.deepEqual(written(), [
    'etc/systemd/system/holdfast-control.service',
    'usr/local/bin/holdfast',
  ]);
  assert.match((await install('--remove')).out, /^Nothing of it is there\n/);
});

test('without systemd, or without root, install says what to do', async (t) => {
  if (fs.existsSync('/run/systemd/system')) {
    t.skip('systemd runs here');
    return;
  }
  const refused = await rig.run(['install']);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /systemd does not run here\nholdfast up --detach runs without it/);
});

test('systemd finds nothing to say about the units', async (t) => {
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' });
  } catch {
    t.skip('no systemd-analyze here');
    return;
  }
  const whole = path.join(rig.directory, 'whole');
  fs.mkdirSync(whole);
  await rig.run(['install', '--prefix', whole, '--data', '/var/lib/holdfast']);
  const units = UNITS.map((name) => path.join(whole, 'etc/systemd/system', name));
  if (NO_ETCD === false) {
    // Of a cluster's first node, whose member of etcd is a service too.
    const node = path.join(rig.directory, 'node with 100%');
    const init = ['cluster', 'init', '--name', 'a', '--listen', '10.0.0.1', '--data', node];
    assert.equal((await rig.run(init)).code, 0);
    await rig.run(['install', '--prefix', whole, '--data', node]);
    const etcd = path.join(whole, 'etc/systemd/system/holdfast-etcd.service');
    const text = fs.readFileSync(etcd, 'utf8');
    assert.match(text, /^ExecStart=\S*\/etcd --config-file ".*node with 100%%\/etcd.json"$/m);
    assert.match(text, /^WorkingDirectory=\/.*node with 100%%$/m);
    units.push(etcd);
  }
  const verify = (...files: string[]): string => {
    const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], {
      encoding: 'utf8',
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${path.dirname(files[0]!)}:` },
    });
    return stdout + stderr;
  };
  assert.equal(verify(...units), '');
  fs.appendFileSync(units[0]!, 'RestartSeconds=1\n');
  assert.match(verify(...units), /RestartSeconds/, 'it would find something');
});
