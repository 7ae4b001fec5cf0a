/** Shapes of the API: what is wanted of a volume's replicas, and what they are. */

import { type Static, Type } from 'typebox';

const Level = Type.Union([Type.Literal('zone'), Type.Literal('rack'), Type.Literal('node')]);

/** In the body of a new volume; for volumes of a cluster. */
export const ReplicasBody = Type.Object(
  {
    count: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 5,
        description: 'Without it 3, or as many as there are nodes; on a single machine 1',
      }),
    ),
    spread: Type.Optional(
      Type.Object(
        {
          level: Level,
          isHard: Type.Boolean({ description: 'Never two in one, or as few as possible' }),
        },
        { additionalProperties: false },
      ),
    ),
    local: Type.Optional(Type.Boolean({ description: 'One is to be on the node that was asked' })),
  },
  { additionalProperties: false },
);

/** In a volume; none where it lies on one drive of a single machine. */
export const Replicas = Type.Array(
  Type.Object({
    id: Type.String(),
    node: Type.String(),
    drive: Type.String(),
    state: Type.String({
      description:
        'synced: it has every acknowledged write; rebuilding; stale: it lacks some; faulted: it does, and its drive failed; creating, removing',
    }),
  }),
);

export const ScaleBody = Type.Object(
  { count: Type.Integer({ minimum: 1, maximum: 5 }) },
  { additionalProperties: false },
);

export const MoveBody = Type.Object(
  { from: Type.String({ minLength: 1, maxLength: 64, description: 'Name of its drive, or node' }) },
  { additionalProperties: false },
);

export const Scrub = Type.Object({
  startedAt: Type.Union([Type.String(), Type.Null()], {
    description: 'Of the last walk that compared all copies of the volume; null: there was none',
  }),
  endedAt: Type.Union([Type.String(), Type.Null()]),
  doneBytes: Type.Integer(),
  totalBytes: Type.Integer(),
  copies: Type.Union(
    [
      Type.Object({
        repaired: Type.Integer(),
        differed: Type.Integer(),
        unreadable: Type.Integer(),
      }),
      Type.Null(),
    ],
    {
      description:
        'Extents since the volume was attached; null where it is not attached on the node that is asked',
    },
  ),
});
export type ScrubView = Static<typeof Scrub>;
