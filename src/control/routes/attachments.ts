/** Routes of attachments and mounts. */

import type { App, RestParts } from '../rest.ts';
import { AttachmentBody, MountBody, NameParams, Volume, problems } from '../schemas.ts';
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
      await volumes.attach(name, body.as);
      return volumeView(parts, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/attachment',
    { schema: { summary: 'Detaches a volume', params, response } },
    async ({ params: { name } }) => {
      await volumes.detach(name);
      return volumeView(parts, name);
    },
  );
  app.put(
    '/v1/volumes/:name/mount',
    { schema: { summary: 'Attaches and mounts a volume', params, body: MountBody, response } },
    async ({ params: { name }, body }) => {
      await volumes.mount(name, { fsType: body.fs, path: body.path, force: body.force ?? false });
      return volumeView(parts, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/mount',
    { schema: { summary: 'Unmounts a volume', params, response } },
    async ({ params: { name } }) => {
      await volumes.unmount(name);
      return volumeView(parts, name);
    },
  );
}
