/** One history as a list of what was asked and what went wrong, and when: what a seed draws, what is shrunk, what a file holds. */

import { UsageError } from '../../src/lib/count-option.ts';
import type { ClusterOptions } from './cluster.ts';
import type { Drawn } from './requests.ts';

/** A request, asked no earlier than this. */
export type Asked = Drawn & { readonly atUs: number };

/** A fault of that name; `draw` is the seed of what it leaves to chance. */
export type Struck = {
  readonly kind: 'fault';
  readonly atUs: number;
  readonly name: string;
  readonly draw: number;
};

export type Step = Asked | Struck;

export type Scenario = {
  /** Of everything that is not a step: how long messages and drives take, what is lost with the power. */
  readonly seed: number;
  readonly cluster: ClusterOptions;
  /** By time. */
  readonly steps: readonly Step[];
};

const KINDS: Record<Step['kind'], true> = {
  write: true,
  zero: true,
  trim: true,
  read: true,
  flush: true,
  fault: true,
};

export function isFault(step: Step): step is Struck {
  return step.kind === 'fault';
}

export function isRequest(step: Step): step is Asked {
  return step.kind !== 'fault';
}

/** JSON, a line for each step. `found`: what it shows, for people. */
export function formatScenario(scenario: Scenario, found: string): string {
  const { seed, cluster, steps } = scenario;
  const lines = steps.map((step) => `    ${JSON.stringify(step)}`);
  return [
    '{',
    `  "found": ${JSON.stringify(found)},`,
    `  "seed": ${seed},`,
    `  "cluster": ${JSON.stringify(cluster)},`,
    `  "steps": [\n${lines.join(',\n')}\n  ]`,
    '}\n',
  ].join('\n');
}

/** Throws a {@link UsageError} where `text` is none. */
export function parseScenario(text: string): Scenario {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`The scenario is not JSON: ${String(error)}`);
  }
  const { seed, cluster, steps } = (parsed ?? {}) as Partial<Scenario>;
  if (typeof seed !== 'number' || typeof cluster !== 'object' || !Array.isArray(steps)) {
    throw new UsageError('A scenario has "seed", "cluster" and "steps"; a failing seed makes one');
  }
  const unknown = steps.find((step) => !(step?.kind in KINDS && typeof step.atUs === 'number'));
  if (unknown !== undefined) {
    throw new UsageError(`There is no such step of a scenario: ${JSON.stringify(unknown)}`);
  }
  return { seed, cluster, steps };
}
