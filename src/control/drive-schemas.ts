/** Shapes of drives in the REST API. */

import { type Static, Type } from 'typebox';

import { Bytes, Name, Nullable, Path } from './schemas.ts';

export const DriveBody = Type.Object(
  {
    name: Name,
    path: Type.Optional(Path('A file or block device, absolute; without it a file of Holdfast')),
    sizeBytes: Type.Optional(Bytes),
    sparse: Type.Optional(
      Type.Boolean({ description: 'Leave holes instead of writing the file in full' }),
    ),
    force: Type.Optional(Type.Boolean({ description: 'Format over what is there' })),
  },
  { additionalProperties: false },
);

const DriveService = Type.Union(
  [Type.Literal('open'), Type.Literal('cordoned'), Type.Literal('draining')],
  { description: 'cordoned: it gets no replicas; draining: those that it has leave, too' },
);

export const DriveChangeBody = Type.Object(
  { sizeBytes: Type.Optional(Bytes), service: Type.Optional(DriveService) },
  { additionalProperties: false, minProperties: 1, description: 'What is not named stays' },
);

export const DriveAdoptBody = Type.Object(
  { path: Path('Where the file or block device of the drive is on this node, absolute') },
  { additionalProperties: false },
);

export const DriveReplaceBody = Type.Object(
  {
    path: Path('A file or block device, absolute; a file that is not there is made, as large'),
    name: Type.Optional(Name),
    force: Type.Optional(Type.Boolean({ description: 'Format over what is there' })),
  },
  { additionalProperties: false },
);

export const Drive = Type.Object({
  name: Name,
  id: Type.String(),
  node: Nullable(Type.String({ description: 'Of a cluster; else null' })),
  path: Type.String(),
  state: Type.String({
    description: 'adding, adopting, removing, open, read-only, faulted, closed or unknown',
  }),
  reason: Nullable(Type.String()),
  service: DriveService,
  replicas: Type.Integer({
    description: 'Of a cluster: how many lie on it, and are not erased yet',
  }),
  warning: Nullable(Type.String({ description: 'What its user should know of its place' })),
  sizeBytes: Nullable(Type.Integer()),
  usedBytes: Nullable(Type.Integer()),
  freeBytes: Nullable(Type.Integer()),
  progress: Nullable(Type.Object({ doneBytes: Type.Integer(), totalBytes: Type.Integer() })),
});

export type DriveView = Static<typeof Drive>;
