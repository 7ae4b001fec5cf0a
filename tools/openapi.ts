/** Writes docs/openapi.json from the routes: `node tools/openapi.ts --write`. Without --write it prints it. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import swagger from '@fastify/swagger';

import { MadeLog } from '../src/attacher/made-log.ts';
import { ReplicaChanges } from '../src/control/cluster/replica-changes.ts';
import { VolumePlugins } from '../src/control/docker/plugins.ts';
import { JoinTokens } from '../src/control/cluster/join-tokens.ts';
import { NodeRegistry } from '../src/control/cluster/node-registry.ts';
import { Drives } from '../src/control/drives.ts';
import { installationAt } from '../src/control/installation.ts';
import { Explainer } from '../src/control/explainer.ts';
import { LineClient } from '../src/control/line-client.ts';
import type { ControlParts } from '../src/control/parts.ts';
import { ProgressBoard } from '../src/control/progress.ts';
import { Metrics } from '../src/control/metrics.ts';
import { RecordsStore } from '../src/control/records-store.ts';
import { openRest } from '../src/control/rest.ts';
import { changeSettings } from '../src/control/settings.ts';
import { StatusReader } from '../src/control/status.ts';
import { packageVersion } from '../src/env/node/package-version.ts';
import { Trash } from '../src/control/trash.ts';
import { Volumes } from '../src/control/volumes.ts';
import { ProcessWatch } from '../src/env/node/process-watch.ts';
import { Turnstile } from '../src/lib/turnstile.ts';
import { SqliteStore } from '../src/metadata/sqlite-store.ts';

export const OPENAPI_FILE: string = fileURLToPath(new URL('../docs/openapi.json', import.meta.url));

/** The document as the file has it. Nothing is asked of engine or attacher for it. */
export async function openApiText(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-openapi-'));
  const store = new SqliteStore({
    path: join(directory, 'state.db'),
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => '',
  });
  try {
    const parts = partsFor(directory, store);
    const info = {
      title: 'Holdfast',
      version: parts.version,
      description: 'The control plane of one installation',
    };
    const app = await openRest(parts, async (routes) => {
      await routes.register(swagger, { openapi: { openapi: '3.1.0', info } });
    });
    const document: unknown = app.swagger();
    await app.close();
    return formatted(JSON.stringify(document));
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** As `npm run check` wants files to be. */
function formatted(json: string): string {
  const oxfmt = fileURLToPath(new URL('../node_modules/.bin/oxfmt', import.meta.url));
  const values = ['--stdin-filepath', OPENAPI_FILE];
  return execFileSync(oxfmt, values, { input: json, encoding: 'utf8' });
}

function partsFor(directory: string, store: SqliteStore): Parameters<typeof openRest>[0] {
  const installation = installationAt(directory);
  const parts: ControlParts = {
    installation,
    records: new RecordsStore(store, '/'),
    engine: new LineClient(installation.engineSocket, 'ENGINE_UNREACHABLE'),
    attacher: new LineClient(installation.attacherSocket, 'ATTACHER_UNREACHABLE'),
    made: new MadeLog(installation.runDirectory),
    log: () => undefined,
    turnstile: new Turnstile(),
    wallMs: () => 0,
    bootId: '',
    newId: () => '',
    newAttachId: () => '',
    progress: new ProgressBoard(),
    askReconcile: () => undefined,
    onStep: () => undefined,
  };
  const drives = new Drives(parts);
  const volumes = new Volumes(parts, drives);
  const status = new StatusReader(parts, { version: packageVersion() });
  return {
    version: packageVersion(),
    records: parts.records,
    progress: parts.progress,
    drives,
    volumes,
    plugins: new VolumePlugins(parts, { volumes, directory }),
    trash: new Trash(parts, volumes.dataOf),
    replicaChanges: new ReplicaChanges(parts, undefined),
    scrubs: undefined,
    nodes: new NodeRegistry(parts),
    joinTokens: new JoinTokens(parts, undefined),
    status: () => status.read(),
    changeSettings: (changed) => changeSettings(parts, changed),
    metrics: new Metrics(parts, { version: '', watch: new ProcessWatch(() => undefined) }),
    explainer: new Explainer(parts, { volumes, usage: { lookedAtMs: parts.wallMs() } }),
    wallMs: parts.wallMs,
    release: async () => ({ problems: [], stopped: [], stalled: [] }),
    tcp: { installation, log: parts.log },
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
  const text = await openApiText();
  if (values.write) writeFileSync(OPENAPI_FILE, text);
  else process.stdout.write(text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
