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

export const Node = Type.Object({
  name: Type.String(),
  state: Type.String({ description: 'up, or down: it has not said for 3 s that it lives' }),
  downForMs: Nullable(Type.Integer({ description: 'As the node that answers has seen it' })),
  service: Service,
  labels: Type.Object(labels),
  peer: Type.Object({ host: Type.String(), port: Type.Integer() }),
  engineStart: Type.Integer({ description: 'Its engine was started so often' }),
  drives: Type.Array(Type.String()),
  replicas: Type.Integer({ description: 'How many lie on its drives and are to stay or to leave' }),
  attached: Type.Integer({ description: 'How many volumes are attached there' }),
  createdAt: Type.String(),
});

export type NodeChange = Static<typeof NodeChangeBody>;
export type NodeView = Static<typeof Node>;
