/** Shapes of operations in the REST API. */

import { type Static, Type } from 'typebox';

import { Nullable, PAGE_COUNT_MAX } from './schemas.ts';

const OperationState = Type.Union([
  Type.Literal('running'),
  Type.Literal('done'),
  Type.Literal('failed'),
]);
const operation = {
  id: Type.String(),
  kind: Type.String({ description: 'For example volume.create' }),
  target: Type.String({ description: 'For example volume/db' }),
  state: OperationState,
  startedAt: Type.String(),
  endedAt: Nullable(Type.String()),
  progress: Nullable(
    Type.Object({
      phase: Type.String({ description: 'What is being done, in words' }),
      done: Nullable(Type.Integer()),
      total: Nullable(Type.Integer()),
      unit: Nullable(Type.String({ description: 'bytes, percent, volumes or replicas' })),
    }),
  ),
  error: Nullable(
    Type.Object({ code: Type.String(), message: Type.String(), wayOut: Nullable(Type.String()) }),
  ),
};
export const Operation = Type.Object(operation);
export const OperationResult = Type.Object({
  ...operation,
  result: Type.Unknown({
    description: 'Of one that is done: what its request answers; null before, or when it is gone',
  }),
});

export const OperationQuery = Type.Object(
  {
    state: Type.Optional(OperationState),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_COUNT_MAX })),
  },
  { additionalProperties: false },
);

export type OperationView = Static<typeof Operation>;
export type OperationResultView = Static<typeof OperationResult>;
