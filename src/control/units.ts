/**
 * The systemd units of an installation, and the udev rule for its devices, as texts: `holdfast install` writes them.
 *
 * Started in the order engine, attacher, control, and before whoever runs containers; stopped in the other order, and before all by
 * holdfast-mounts, which unmounts while the three still serve. None of them needs another: a stop, a restart or the death of one stops
 * none, and I/O waits meanwhile. Only holdfast.target stops all.
 */

import { memberWords } from './own-etcd.ts';
import { type Kept, type Role, compileCache, mainPath, roleWords } from './roles.ts';
import { ENGINE_UNIT, UNIT_DIRECTORY, UNIT_HEADER } from './served-installation.ts';

export const TARGET = 'holdfast.target';
/** Of the member of etcd that some nodes have. */
export const ETCD_UNIT: string = `${UNIT_DIRECTORY}/holdfast-etcd.service`;

export const serviceOf = (role: Kept): string => `holdfast-${role}.service`;

/** What the units are made of. All paths are absolute. */
export type UnitFacts = {
  /** The Node that runs the program. */
  readonly node: string;
  /** The folder of the program: package.json, bin, src. */
  readonly root: string;
  /** The installation. */
  readonly data: string;
  /** Where the attacher mounts its FUSE files, resolved. */
  readonly fuseDirectory: string;
  /** Of a node that has a member of the cluster's own etcd, the program. */
  readonly etcd: string | undefined;
};

export type InstalledFile = { readonly path: string; readonly text: string };

/** All files, in the order in which they are written. */
export function unitFiles(facts: UnitFacts): readonly InstalledFile[] {
  return [
    { path: ENGINE_UNIT, text: engineUnit(facts) },
    { path: `${UNIT_DIRECTORY}/holdfast-attacher.service`, text: attacherUnit(facts) },
    { path: `${UNIT_DIRECTORY}/holdfast-control.service`, text: controlUnit(facts) },
    { path: `${UNIT_DIRECTORY}/holdfast-mounts.service`, text: mountsUnit(facts) },
    ...(facts.etcd === undefined ? [] : [{ path: ETCD_UNIT, text: etcdUnit(facts, facts.etcd) }]),
    { path: `${UNIT_DIRECTORY}/${TARGET}`, text: targetText(facts) },
    // After 10-dm, before 60-persistent-storage, which probes what is on a device.
    { path: '/etc/udev/rules.d/59-holdfast.rules', text: deviceRule(facts) },
  ];
}

/** Those who keep containers on volumes: they start after, and stop before. */
const CONTAINERS = 'docker.service containerd.service kubelet.service crio.service';

type UnitText = {
  readonly description: string;
  readonly after: readonly string[];
  /** Further lines of [Unit]. */
  readonly unit?: readonly string[];
  readonly service: readonly string[];
};

function unit(facts: UnitFacts, text: UnitText): string {
  return `${UNIT_HEADER}
# data: ${JSON.stringify(facts.data)}

[Unit]
Description=${text.description}
PartOf=${TARGET}
RequiresMountsFor=${quoted(facts.data)}
${text.after.map((name) => `After=${name}\n`).join('')}Before=${CONTAINERS}
# For ever: I/O waits for it, and what it lacks may come back.
StartLimitIntervalSec=0
${(text.unit ?? []).map((line) => `${line}\n`).join('')}
[Service]
${text.service.join('\n')}
`;
}

/** What the three processes have in common. No sandbox options: each would give the process mounts of its own. */
function processLines(facts: UnitFacts, role: Role): readonly string[] {
  return [
    'Type=notify',
    `ExecStart=${commandLine([facts.node, ...roleWords(role, facts)])}`,
    `Environment=${quoted(`NODE_COMPILE_CACHE=${compileCache(facts.root)}`)}`,
    'Restart=always',
    'RestartSec=200ms',
    // What control started on a file system comes to its end: killed it could leave half of it.
    `KillMode=${role === 'control' ? 'process' : 'mixed'}`,
    'UMask=0077',
    'LimitNOFILE=524288',
    'LimitMEMLOCK=infinity',
    'TasksMax=infinity',
    `SyslogIdentifier=holdfast-${role}`,
  ];
}

/** Of the two that I/O goes through: memory is short when they are needed most. */
const KEPT_LINES = ['OOMScoreAdjust=-900', 'OOMPolicy=continue', 'ManagedOOMPreference=omit'];

function engineUnit(facts: UnitFacts): string {
  return unit(facts, {
    description: 'Holdfast engine: drives and volumes',
    after: [],
    service: [
      ...processLines(facts, 'engine'),
      ...KEPT_LINES,
      '# A recovery of a large drive; a last checkpoint. Killed, it loses nothing that was acknowledged.',
      'TimeoutStartSec=15min',
      'TimeoutStopSec=60s',
    ],
  });
}

function attacherUnit(facts: UnitFacts): string {
  return unit(facts, {
    description: 'Holdfast attacher: block devices',
    after: ['holdfast-engine.service'],
    unit: [
      '# Its end fails what is mounted. holdfast upgrade replaces it, holdfast down ends it in order.',
      'RefuseManualStop=yes',
    ],
    service: [
      ...processLines(facts, 'attacher'),
      ...KEPT_LINES,
      '# At an upgrade another process takes over, and says so.',
      'NotifyAccess=all',
      'TimeoutStartSec=2min',
      'TimeoutStopSec=60s',
    ],
  });
}

function controlUnit(facts: UnitFacts): string {
  return unit(facts, {
    description: 'Holdfast control: API, records, mounts',
    after: [
      ...(facts.etcd === undefined ? [] : ['holdfast-etcd.service']),
      'holdfast-engine.service',
      'holdfast-attacher.service',
    ],
    service: [
      ...processLines(facts, 'control'),
      '# It is up when what was mounted is mounted again.',
      'TimeoutStartSec=5min',
      'TimeoutStopSec=30s',
    ],
  });
}

/** It waits for no leader: the others may be away, and what is mounted needs none of them. */
function etcdUnit(facts: UnitFacts, program: string): string {
  return unit(facts, {
    description: 'Holdfast etcd: the records of the cluster',
    after: ['network-online.target'],
    unit: ['Wants=network-online.target'],
    service: [
      'Type=exec',
      `ExecStart=${commandLine([program, ...memberWords(facts.data)])}`,
      // The rest of the line, with quotes as a part of it.
      `WorkingDirectory=${facts.data.replaceAll('%', '%%')}`,
      'Restart=always',
      '# On a node that has just joined, control has yet to write its configuration.',
      'RestartSec=1s',
      'UMask=0077',
      'LimitNOFILE=524288',
      'TimeoutStopSec=30s',
      'SyslogIdentifier=holdfast-etcd',
    ],
  });
}

function mountsUnit(facts: UnitFacts): string {
  const words = [facts.node, mainPath(facts.root), 'down', '--release', '--data', facts.data];
  return unit(facts, {
    description: 'Holdfast mounts: unmounted before its processes end',
    after: ['holdfast-control.service'],
    unit: ['RefuseManualStop=yes'],
    service: [
      'Type=oneshot',
      'RemainAfterExit=yes',
      'ExecStart=/bin/true',
      '# Waits for who still uses a mount, as long as it may.',
      `ExecStop=${commandLine(words)}`,
      'TimeoutStopSec=90s',
      'SyslogIdentifier=holdfast-mounts',
    ],
  });
}

const targetText = ({ etcd }: UnitFacts): string => `${UNIT_HEADER}

[Unit]
Description=Holdfast
Wants=${etcd === undefined ? '' : 'holdfast-etcd.service '}holdfast-engine.service holdfast-attacher.service holdfast-control.service holdfast-mounts.service
Before=${CONTAINERS}

[Install]
WantedBy=multi-user.target
`;

/**
 * Nobody but Holdfast probes, assembles or mounts what is on a volume: a database's LVM or RAID on it is no business of this machine's.
 * Known are its loop devices by the file below them, its nbd devices by their backend, 32 hexadecimal digits.
 */
function deviceRule({ fuseDirectory }: UnitFacts): string {
  const digits = '[0-9a-f]'.repeat(32);
  const away = [
    'ENV{UDISKS_IGNORE}="1"',
    'ENV{UDISKS_PRESENTATION_HIDE}="1"',
    'ENV{UDISKS_AUTO}="0"',
    'ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"',
    'ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"',
    'ENV{DM_MULTIPATH_DEVICE_PATH}="0"',
  ].join(', ');
  const rule = (match: string): string => `${match}, GOTO="holdfast_device"`;
  return `${UNIT_HEADER}
SUBSYSTEM!="block", GOTO="holdfast_end"
${rule(`KERNEL=="loop[0-9]*", ATTR{loop/backing_file}=="${fuseDirectory}/*"`)}
${rule(`KERNEL=="nbd[0-9]*", ATTR{backend}=="${digits}"`)}
GOTO="holdfast_end"
LABEL="holdfast_device"
${away}
LABEL="holdfast_end"
`;
}

/** A value as systemd reads it, which puts its own in place of %. */
function quoted(word: string): string {
  const escaped = word.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%');
  return /^[\w@:+,./=%-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}

/** In a command line $ stands for a variable too. */
const commandLine = (words: readonly string[]): string =>
  words.map((word) => quoted(word).replaceAll('$', '$$$$')).join(' ');
