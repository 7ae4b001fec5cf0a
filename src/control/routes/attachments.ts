/** Routes of attachments and mounts. */

import type { App, RestParts } from '../rest.ts';
import {
  AttachmentBody,
  DetachQuery,
  MountBody,
  NameParams,
  UnmountQuery,
  Volume,
  problems,
} from '../schemas.ts';
import { API_HOLDER } from '../mount-holders.ts';
import { volumeView } from './volumes.ts';

/** Adds them to the API. */
export function attachmentRoutes(app: App, parts: RestParts): void {
  const { volumes } = parts;
  const params = NameParams;
  const response = { 200: Volume, ...problems };
  app.put(
    '/v1/volumes/:name/attachment',
    { schema: { summary: 'Attaches a volume', params, body: AttachmentBody, response } },
    async ({ params: { name }, body }) => {
      await volumes.attach(name, body);
      return volumeView(parts, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/attachment',
    { schema: { summary: 'Detaches a volume', params, querystring: DetachQuery, response } },
    async ({ params: { name }, query }) => {
      await volumes.detach(name, query);
      return volumeView(parts, name);
    },
  );
  app.put(
    '/v1/volumes/:name/mount',
    { schema: { summary: 'Attaches and mounts a volume', params, body: MountBody, response } },
    async ({ params: { name }, body: { fs, path, force = false } }) => {
      await volumes.mount(name, { fsType: fs, path, force, holder: API_HOLDER });
      return volumeView(parts, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/mount',
    {
      schema: { summary: 'Unmounts a volume', params, querystring: UnmountQuery, response },
    },
    async ({ params: { name }, query: { force = false } }) => {
      await volumes.unmount(name, { holder: API_HOLDER, force });
      return volumeView(parts, name);
    },
  );
}
