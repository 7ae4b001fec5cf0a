import { Refusal } from '../../model/errors.ts';

/** Whether another changed a record first: what was decided on it is to be decided anew. */
export const isConflict = (error: unknown): boolean =>
  error instanceof Refusal && error.code === 'STORE_CONFLICT';
