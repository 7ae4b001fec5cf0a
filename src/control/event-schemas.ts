/** Shapes of events, and of the watch that tells changes, in the REST API. */

import { type Static, Type } from 'typebox';

import { CHANGE_KINDS } from './changes.ts';
import { Nullable } from './schemas.ts';

export const Event = Type.Object({
  id: Type.String(),
  at: Type.String(),
  kind: Nullable(Type.String({ description: 'One of docs/events.md; null: of an old version' })),
  subject: Nullable(
    Type.String({ description: 'What it is about: volume/NAME, drive/NAME or process/ROLE' }),
  ),
  node: Nullable(Type.String({ description: 'Who tells it; null on a single machine' })),
  what: Type.String({ description: 'Something that happened by itself' }),
  cause: Nullable(Type.String({ description: 'Why, as far as it is known' })),
});

export const EventQuery = Type.Object(
  {
    subject: Type.Optional(
      Type.String({ maxLength: 100, description: 'Of this alone: volume/NAME, for example' }),
    ),
  },
  { additionalProperties: false },
);

export const WatchQuery = Type.Object(
  {
    kind: Type.Optional(
      Type.Array(Type.Union(CHANGE_KINDS.map((kind) => Type.Literal(kind))), {
        maxItems: CHANGE_KINDS.length,
        description: 'Of these alone; all without it',
      }),
    ),
  },
  { additionalProperties: false },
);

export type EventView = Static<typeof Event>;
