/** What the servers of control do with the schemas of their routes. */

import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyServerOptions } from 'fastify';

/**
 * Requests are validated. Answers are of their schemas by their types: a serializer made of each schema would be two thirds of the start of the
 * API and 20 MiB, and JSON.stringify is as fast.
 */
export const schemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  compilersFactory: {
    // The types of the option know only ajv.
    buildValidator: () => TypeBoxValidatorCompiler as never,
    buildSerializer: () => () => JSON.stringify,
  },
};
