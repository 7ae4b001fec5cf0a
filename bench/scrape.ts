/**
 * `npm run bench:scrape`: what metrics cost. CPU of engine and control for one scrape, and how long it takes, with 1, 50 and 250 volumes
 * that had I/O; the engine's share is what a scrape each second takes from the I/O path.
 */

import { get } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ApiClient } from '../src/cli/api-client.ts';
import { installationAt } from '../src/control/installation.ts';
import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { countOption } from '../src/lib/count-option.ts';
import { askEach } from '../test/rigs/monitoring.ts';
import { settle } from './lib/host.ts';
import { Installation } from './lib/installation.ts';
import { cpuSeconds } from './lib/processes.ts';
import { RigFolder, runRig } from './lib/rig.ts';

const HELP = `npm run bench:scrape -- [options]: what metrics cost

  --scrapes N    for each number of volumes (200)
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when the bar is missed

Example: npm run bench:scrape -- --scrapes 50
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
/** An engine serves 256 at most. */
const VOLUME_COUNTS = [1, 50, 250];
const VOLUME_BYTES = 4 * 2 ** 20;
/** With a scrape each second: issue 3. */
const ENGINE_PERCENT_MAX = 1;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      scrapes: { type: 'string', default: '200' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const scrapes = countOption('scrapes', values.scrapes);
  const folder = await RigFolder.open(values.dir, 'scrape');
  const installation = new Installation({ dataFolder: join(folder.path, 'data') });
  folder.onClose(async () => await installation.remove());
  let isMet = true;
  try {
    await installation.command(['up', '--detach', '--sparse', '--drive-size', '4GiB']);
    const { apiSocket, directory } = installationAt(installation.dataFolder);
    const api = new ApiClient([installationAt(directory)]);
    let made = 0;
    for (const count of VOLUME_COUNTS) {
      for (; made < count; made++) await use(api, `v${made}`);
      await settle();
      isMet = (await measure(api, { apiSocket, count, scrapes })) && isMet;
    }
  } finally {
    await folder.close();
  }
  return isMet || !values.assert ? 0 : 1;
}

/** Makes a volume whose meters have something of each kind. */
async function use(api: ApiClient, name: string): Promise<void> {
  await api.post('/v1/volumes', { name, sizeBytes: VOLUME_BYTES });
  const path = `/v1/volumes/${name}/attachment`;
  const { attachment } = await api.put<VolumeView>(path, { as: 'nbd' });
  await askEach(attachment?.uri ?? '');
}

async function measure(
  api: ApiClient,
  run: { readonly apiSocket: string; readonly count: number; readonly scrapes: number },
): Promise<boolean> {
  const { processes } = await api.get<StatusView>('/v1/status');
  const pids = ['engine', 'control'].map((role) => processes[role]?.pid ?? 0);
  const sizeBytes = await scrape(run.apiSocket);
  const before = pids.map((pid) => cpuSeconds([pid]));
  const startMs = performance.now();
  for (let count = 0; count < run.scrapes; count++) await scrape(run.apiSocket);
  const wallMs = (performance.now() - startMs) / run.scrapes;
  const [engineMs = 0, controlMs = 0] = pids.map(
    (pid, at) => ((cpuSeconds([pid]) - (before[at] ?? 0)) * 1000) / run.scrapes,
  );
  const percent = engineMs / 10;
  const isMet = percent <= ENGINE_PERCENT_MAX;
  process.stdout.write(
    `${run.count} volumes: a scrape takes ${engineMs.toFixed(2)} ms of CPU of the engine, ${controlMs.toFixed(2)} ms of control, ${wallMs.toFixed(1)} ms in all, and has ${Math.round(sizeBytes / 1000)} kB; ` +
      `one each second takes ${percent.toFixed(2)} % of a core from the engine, bar ${ENGINE_PERCENT_MAX} %: ${isMet ? 'met' : 'MISSED'}\n`,
  );
  return isMet;
}

function scrape(socketPath: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path: '/metrics' }, (answer) => {
      let sizeBytes = 0;
      answer.on('data', (chunk: Buffer) => (sizeBytes += chunk.length));
      answer.on('end', () => resolve(sizeBytes));
    });
    request.on('error', reject);
  });
}

await runRig(main);
