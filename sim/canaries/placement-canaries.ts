/** The canaries of placement: each breaks it in one way, and what `sim/placement` compares it with must say so. */

import type { Canary } from './canary.ts';
import type { Flaw } from './flaw.ts';

const flaw = (name: string, file: string, ...[find, replace]: [string, string]): Flaw => ({
  name,
  patches: [{ file: `src/placement/${file}`, find, replace }],
});

const FLAWS: readonly Flaw[] = [
  flaw(
    'a hard spread closes no domain',
    'place.ts',
    'const taken = new Set(this.#occupied.map(({ domains }) => domains[level]));',
    'const taken = new Set<string>();',
  ),
  flaw(
    'replicas that leave count as places',
    'place.ts',
    '.filter((replica) => !cluster.leaves(replica))',
    '.filter(() => true)',
  ),
  flaw(
    'a soft spread is none',
    'place.ts',
    'criterion of CRITERIA) {',
    "criterion of CRITERIA.filter((each) => each !== 'spread')) {",
  ),
  flaw(
    'a group is ranked after space',
    'place.ts',
    "['region', 'spread', 'group', 'local', 'pressure', 'tie']",
    "['region', 'spread', 'pressure', 'group', 'local', 'tie']",
  ),
  flaw(
    'the group counts the replica that is replaced',
    'cluster.ts',
    'if (volume.group === undefined || this.leaves(replica)) continue;',
    'if (volume.group === undefined) continue;',
  ),
  flaw(
    'ties are drawn',
    'place.ts',
    'return hash(this.#volume.name, space.drive.id);',
    'return Math.random();',
  ),
  flaw(
    'an unreachable node gets replicas',
    'constraints.ts',
    "if (node.liveness.kind !== 'up') {",
    "if (node.liveness.kind === 'down') {",
  ),
  flaw(
    'a drive promises more than its limit',
    'constraints.ts',
    'const wouldBeBytes = space.promisedBytes + volume.sizeBytes;',
    'const wouldBeBytes = space.promisedBytes;',
  ),
  flaw(
    'a forbidden tag is allowed',
    'constraints.ts',
    '(tag) => drive.tags.includes(tag));',
    '(tag) => tag.length === 0);',
  ),
  flaw(
    'a drive is full of what is promised',
    'constraints.ts',
    'const wouldBeBytes = space.writtenBytes + volume.writtenBytes;',
    'const wouldBeBytes = space.writtenBytes + volume.sizeBytes;',
  ),
  flaw(
    'a refusal asks for a drive too few',
    'no-place.ts',
    'count: lacking - found,',
    'count: lacking - found - 1,',
  ),
  flaw(
    'a replica goes when a minimum is synced',
    'repairs.ts',
    'return synced.length >= volume.replicaCount;',
    'return synced.length >= volume.minimum;',
  ),
  flaw(
    'a replica goes for one on a node that falls silent',
    'repairs.ts',
    "(replica) => replica.state === 'synced' && this.#plan.isUp(replica),",
    "(replica) => replica.state === 'synced' && this.#plan.isPresent(replica),",
  ),
  flaw(
    'what is back is readmitted in place of any that is being filled',
    'repairs.ts',
    '(near.length === 1 ? near : others)',
    'others',
  ),
  flaw('no grace', 'repairs.ts', 'sinceMs + this.#policy.graceMs', 'sinceMs'),
  flaw('a grace with one copy left', 'repairs.ts', 'if (copies === 1) return undefined;', ''),
  flaw('half of the nodes may vanish', 'repairs.ts', 'away * 3 > of', 'away * 2 > of'),
  flaw(
    'what is in maintenance is replaced',
    'repairs.ts',
    "if (space.node.service === 'maintenance' || space.drive.service === 'maintenance') {",
    "if (space.drive.service === 'maintenance') {",
  ),
  flaw('no budget', 'repairs.ts', '.slice(0, rebuildsMax)', '.slice(0)'),
  flaw(
    'rebuilds in the order of their size',
    'repairs.ts',
    'compareRisk(a.risk, b.risk) ||\n        Number',
    'Number',
  ),
  flaw(
    'a move for space has no least gain',
    'balance.ts',
    'return after - fillOf(target) - bytes / target.drive.capacityBytes >= FILL_GAP_MIN;',
    'return after < fillOf(source) && fillOf(target) >= 0;',
  ),
  flaw(
    'a move may make a group uneven',
    'balance.ts',
    'return then[criterion] < now[criterion] ? criterion : undefined;',
    'return criterion;',
  ),
];

export const PLACEMENT_CANARIES: readonly Canary[] = FLAWS.map((each, index) => ({
  number: 201 + index,
  focus: 'placement',
  ...each,
}));
