/** Shapes of the nodes of a cluster in the REST API. */

import { type Static, Type } from 'typebox';

import { Nullable } from './schemas.ts';

const Label = Type.String({
  maxLength: 63,
  pattern: '^[A-Za-z0-9_.-]*$',
  description: 'Letters, digits, "_", "." and "-"; empty: none',
});
const labels = { region: Label, zone: Label, rack: Label };
const Service = Type.Union(
  [
    Type.Literal('open'),
    Type.Literal('cordoned'),
    Type.Literal('draining'),
    Type.Literal('maintenance'),
  ],
  {
    description:
      'cordoned: it gets nothing new; draining: its replicas leave, too; maintenance: it gets nothing new, and what is away with it is not replaced',
  },
);

export const NodeChangeBody = Type.Object(
  {
    labels: Type.Optional(Type.Partial(Type.Object(labels), { additionalProperties: false })),
    service: Type.Optional(Service),
  },
  { additionalProperties: false, minProperties: 1, description: 'What is not named stays' },
);

const Address = Type.Object({ host: Type.String(), port: Type.Integer() });

export const Node = Type.Object({
  name: Type.String(),
  state: Type.String({ description: 'up, or down: it has not said for 3 s that it lives' }),
  downForMs: Nullable(Type.Integer({ description: 'As the node that answers has seen it' })),
  service: Service,
  labels: Type.Object(labels),
  peer: Address,
  join: Nullable(Address),
  engineStart: Type.Integer({ description: 'Its engine was started so often' }),
  drives: Type.Array(Type.String()),
  replicas: Type.Integer({ description: 'How many lie on its drives and are to stay or to leave' }),
  alone: Type.Array(Type.String(), {
    description:
      'Volumes of the time before the cluster that lie on one of its drives alone: a drain leaves them there',
  }),
  attached: Type.Integer({ description: 'How many volumes are attached there' }),
  createdAt: Type.String(),
});

export const JoinTokenParams = Type.Object({
  id: Type.String({
    pattern: '^[0-9a-f]{32}$',
    description: "The first 32 hex digits of the SHA-256 of the token's secret",
  }),
});

const joinToken = {
  id: Type.String(),
  state: Type.String({ description: 'valid, used or ended' }),
  node: Nullable(Type.String({ description: 'The node that it made' })),
  createdAt: Type.String(),
  endsAt: Type.String(),
};

export const JoinToken = Type.Object(joinToken);

export const JoinPlace = Type.Object({
  ...joinToken,
  cluster: Type.String(),
  authority: Type.String({ description: "SHA-256 of the certificate of the cluster's authority" }),
  addresses: Type.Array(Type.String({ description: 'HOST:PORT of a node that takes joins' })),
});

const PLACE_LENGTH_MAX = 200;

export const WhatIfQuery = Type.Object(
  {
    event: Type.Union([Type.Literal('lose'), Type.Literal('drain')], {
      description:
        'lose: the nodes vanish and do not come back; drain: their replicas are to leave',
    }),
    level: Type.Optional(
      Type.Union([Type.Literal('zone'), Type.Literal('rack'), Type.Literal('node')], {
        description: 'Without it node',
      }),
    ),
    domain: Type.String({
      pattern: '^[A-Za-z0-9_./-]+$',
      maxLength: PLACE_LENGTH_MAX,
      description: 'A node; a zone, as REGION/ZONE where it has a region; a rack, as ZONE/RACK',
    }),
  },
  { additionalProperties: false },
);

export const Effect = Type.Object({
  volume: Type.String(),
  outcome: Type.String({
    description:
      'stops: its I/O stands still until enough is back; loses redundancy: it goes on with fewer copies; moves: it is drained without a gap',
  }),
  copiesNow: Type.Integer({ description: 'From which it can be served' }),
  copiesThen: Type.Integer({ description: 'Without those there' }),
  minimum: Type.Integer({ description: 'With fewer copies it stops' }),
  replicas: Type.Integer({ description: 'How many are wanted' }),
  attachedThere: Type.Boolean({ description: 'Who uses it is there, too' }),
  drives: Type.Array(Type.String(), { description: 'With its replicas, there' }),
  newDrives: Type.Array(Type.String(), { description: 'Those that would get them' }),
  held: Nullable(Type.String({ description: 'Why not all that are lost get another drive' })),
});

export const Placement = Type.Object({
  volume: Type.String(),
  drives: Type.Array(
    Type.Object({
      drive: Type.String(),
      node: Type.String(),
      hasReplica: Type.Boolean({ description: 'One of the volume is there now' }),
      verdict: Type.String({
        description:
          'chosen; possible: it could take one, and others are better; apart: another is too near; refused',
      }),
      because: Type.String(),
    }),
  ),
  problem: Nullable(Type.String({ description: 'Why not all have a place' })),
  helps: Type.Array(Type.String(), { description: 'Each is enough by itself' }),
});

export type PlacementView = Static<typeof Placement>;
export type EffectView = Static<typeof Effect>;
export type NodeChange = Static<typeof NodeChangeBody>;
export type JoinTokenView = Static<typeof JoinToken>;
export type JoinPlaceView = Static<typeof JoinPlace>;
export type NodeView = Static<typeof Node>;
