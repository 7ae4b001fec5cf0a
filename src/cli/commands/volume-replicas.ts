/** Replicas of volumes, in options and in words. */

import type { VolumeView } from '../../control/schemas.ts';
import { Refusal } from '../../model/errors.ts';

/** What the options of a new volume say of its replicas, as the API takes it. Throws REPLICAS_INVALID. */
export function replicasOf(options: {
  readonly replicas?: string;
  readonly spread?: string;
  readonly softSpread?: boolean;
  readonly local?: boolean;
}): object {
  const { replicas, spread, softSpread = false, local } = options;
  if (replicas !== undefined && !/^[1-5]$/.test(replicas)) {
    const problem = 'a volume has 1 to 5';
    throw new Refusal('REPLICAS_INVALID', { wanted: `"${replicas}" replicas`, problem });
  }
  const wish = {
    ...(replicas === undefined ? {} : { count: Number(replicas) }),
    ...(spread === undefined && !softSpread
      ? {}
      : { spread: { level: spread ?? 'node', isHard: !softSpread } }),
    ...(local === true ? { local: true } : {}),
  };
  return Object.keys(wish).length === 0 ? {} : { replicas: wish };
}

/** The drives that a volume lies on. */
export const drivesOf = ({ drive, replicas }: VolumeView): string =>
  replicas.length === 0 ? drive : replicas.map((replica) => replica.drive).join(', ');

/** Where a volume lies, as the end of a sentence. */
export function placesInWords({ drive, replicas }: VolumeView): string {
  if (replicas.length === 0) return `on drive "${drive}"`;
  const nodes = replicas.map(({ node }) => `"${node}"`).join(', ');
  return `with ${replicas.length} ${replicas.length === 1 ? 'replica' : 'replicas'}, on ${nodes}`;
}

export const onNode = (node: string | null): string => (node === null ? '' : ` on node ${node}`);
