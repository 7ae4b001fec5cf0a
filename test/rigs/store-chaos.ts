/** `npm run chaos:store`: the cluster store on an etcd of three members, whose members and networks fail while it is written to. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { runRig } from '../../bench/lib/rig.ts';
import { countOption } from '../../src/lib/count-option.ts';
import { Prng } from '../../src/lib/prng.ts';
import type { JsonValue, WatchEvent } from '../../src/metadata/cluster-store.ts';
import { EtcdStore } from '../../src/metadata/etcd-store.ts';
import { Fault } from '../../src/model/errors.ts';
import { EtcdProcess, freePort } from './etcd-process.ts';
import { TcpRelay } from './tcp-relay.ts';

const HELP = `npm run chaos:store -- [options]: three members of etcd, killed, stopped and cut off under transactions

  --seconds N   how long (60)
  --seed N      of the order of the faults (1)

Each transaction adds one to a counter, if nobody else did. A watch must show each committed one once, in the revision that was told,
and none that was refused.

Example: npm run chaos:store -- --seconds 600 --seed 2
`;

const WORKERS = 3;
const FAULT_MS = { least: 500, most: 3_000 };
const HEAL_MS_MAX = 60_000;
/** That are printed. */
const PROBLEMS_MAX = 20;

type Member = { readonly etcd: EtcdProcess; readonly clients: TcpRelay; readonly peers: TcpRelay };
type Outcome = { readonly kind: 'committed' | 'conflict' | 'unknown'; readonly revision?: number };
type Seen = { readonly id: string; readonly n: number; readonly revision: number };

async function startCluster(directory: string): Promise<Member[]> {
  const places = await Promise.all(
    ['a', 'b', 'c'].map(async (name) => {
      const listen = `http://127.0.0.1:${await freePort()}`;
      return { name, listen, peers: await TcpRelay.to(listen) };
    }),
  );
  const cluster = places.map(({ name, peers }) => `${name}=${peers.endpoint}`).join(',');
  const members = [];
  for (const { name, listen, peers } of places) {
    const place = { name, listen, peer: peers.endpoint, cluster };
    const etcd = await EtcdProcess.member({ directory }, place);
    members.push({ etcd, peers, clients: await TcpRelay.to(etcd.endpoint) });
  }
  await Promise.all(members.map(({ etcd }) => etcd.up()));
  return members;
}

/** What can happen to a member, for a while. */
const FAULTS: Readonly<Record<string, (member: Member, ms: number) => Promise<void>>> = {
  killed: async ({ etcd }, ms) => {
    await etcd.kill();
    await pause(ms);
    await etcd.up();
  },
  stopped: async ({ etcd }, ms) => {
    etcd.signal('SIGSTOP');
    await pause(ms);
    etcd.signal('SIGCONT');
  },
  'cut off from clients': ({ clients }, ms) => cut(clients, 'hold', ms),
  'cut off from clients one way': ({ clients }, ms) => cut(clients, 'mute', ms),
  'cut off from members one way': ({ peers }, ms) => cut(peers, 'mute', ms),
  'connections reset': async ({ clients, peers }) => {
    clients.reset();
    peers.reset();
    await pause(FAULT_MS.least);
  },
};

async function cut(relay: TcpRelay, mode: 'hold' | 'mute', ms: number): Promise<void> {
  relay.mode = mode;
  await pause(ms);
  // No network leaves a hole in a stream that goes on; what was held arrives, late.
  if (mode === 'mute') relay.reset();
  relay.mode = 'pass';
  relay.release();
}

/** Adds one to the counter again and again. */
async function work(
  store: EtcdStore,
  { name, outcomes, until }: { name: string; outcomes: Map<string, Outcome>; until: AbortSignal },
): Promise<void> {
  for (let turn = 0; !until.aborted; turn++) {
    const id = `${name}-${turn}`;
    try {
      const entry = await store.get('n');
      const before = entry === undefined ? 0 : counterIn(entry.value).n;
      const put = { key: 'n', value: { n: before + 1, id } };
      outcomes.set(id, { kind: 'unknown' });
      const conditions = [{ key: 'n', version: entry?.version ?? 0 }];
      outcomes.set(id, await store.transact({ conditions, puts: [put] }));
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'STORE_UNREACHABLE') throw error;
    }
  }
}

function counterIn(value: JsonValue): { readonly n: number; readonly id: string } {
  assert.ok(typeof value === 'object' && value !== null && 'n' in value, 'it is the counter');
  assert.ok(typeof value.id === 'string');
  return { n: Number(value.n), id: value.id };
}

const seenIn = (event: WatchEvent): Seen[] =>
  event.kind === 'put' ? [{ ...counterIn(event.entry.value), revision: event.revision }] : [];

/** What is wrong with what the watch showed, beside what the workers were told. */
function problemsOf(seen: readonly Seen[], outcomes: ReadonlyMap<string, Outcome>): string[] {
  const problems: string[] = [];
  const byId = new Map(seen.map((each) => [each.id, each]));
  if (byId.size < seen.length) problems.push('a transaction took effect twice');
  seen.forEach(({ n, id }, index) => {
    if (n !== index + 1) problems.push(`the ${index + 1}th change, ${id}, has the number ${n}`);
  });
  for (const [id, { kind, revision }] of outcomes) {
    const found = byId.get(id);
    if (kind === 'conflict' && found !== undefined)
      problems.push(`${id} was refused, and is there`);
    if (kind === 'committed' && found?.revision !== revision) {
      problems.push(`${id} was committed in ${revision}, and is there in ${found?.revision}`);
    }
  }
  return problems;
}

async function run(members: readonly Member[], seconds: number, random: Prng): Promise<number> {
  let remembered = 0;
  const store = await EtcdStore.open({
    access: { endpoints: members.map(({ clients }) => clients.endpoint) },
    prefix: 'chaos',
    writer: 'control',
    owner: 'chaos',
    rememberedRevision: 0,
    remember: (revision) => (remembered = revision),
    randomId: () => randomUUID(),
  });
  const outcomes = new Map<string, Outcome>();
  const stop = new AbortController();
  const working = Promise.all(
    Array.from({ length: WORKERS }, (_, index) =>
      work(store, { name: `w${index}`, outcomes, until: stop.signal }),
    ),
  );
  const seen: Seen[] = [];
  const watched = new AbortController();
  const watching = (async () => {
    for await (const event of store.watch('n', 0, watched.signal)) seen.push(...seenIn(event));
  })();
  const failed = Promise.race([working, watching]).then(() => undefined);
  const counts = new Map<string, number>();
  const names = Object.keys(FAULTS);
  for (const endMs = Date.now() + seconds * 1000; Date.now() < endMs;) {
    const name = names[random.below(names.length)] ?? '';
    const member = members[random.below(members.length)];
    const ms = FAULT_MS.least + random.below(FAULT_MS.most - FAULT_MS.least);
    if (member !== undefined) await Promise.race([FAULTS[name]?.(member, ms), failed]);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    await pause(random.below(1_000));
  }
  stop.abort();
  await working;
  const last = (await store.get('n'))?.version ?? 0;
  for (const endMs = Date.now() + HEAL_MS_MAX; (seen.at(-1)?.revision ?? 0) < last;) {
    if (Date.now() > endMs) throw new Error(`the watch has not shown revision ${last}`);
    await pause(50);
  }
  watched.abort();
  await watching;
  await store.close();
  const problems = problemsOf(seen, outcomes);
  if (remembered < last) problems.push(`revision ${remembered} is remembered, ${last} is there`);
  const kinds = [...outcomes.values()].map(({ kind }) => kind);
  const count = (kind: string): number => kinds.filter((each) => each === kind).length;
  process.stdout.write(
    `Transactions: ${count('committed')} committed, ${count('conflict')} refused, ${count('unknown')} without an answer, of which ${seen.length - count('committed')} took effect\n` +
      `Faults: ${[...counts].map(([name, times]) => `${name} ${times}`).join(', ')}\n` +
      problems
        .slice(0, PROBLEMS_MAX)
        .map((problem) => `WRONG: ${problem}\n`)
        .join(''),
  );
  return problems.length === 0 && count('committed') > 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seconds = countOption('seconds', values.seconds);
  const seed = countOption('seed', values.seed, 0);
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-store-chaos-'));
  const members = await startCluster(directory);
  try {
    return await run(members, seconds, new Prng(seed));
  } finally {
    for (const { etcd, clients, peers } of members) {
      etcd.signal('SIGCONT');
      await etcd.kill();
      clients.close();
      peers.close();
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

await runRig(main);
