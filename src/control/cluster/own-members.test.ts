import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import type { EtcdMember } from '../../metadata/etcd-members.ts';
import { Fault } from '../../model/errors.ts';
import { keepAuthority, newAuthority, newNodeCertificate } from '../cluster-authority.ts';
import { keepIdentity } from '../node-files.ts';
import { etcdFileOf, keepMember } from '../own-etcd.ts';
import type { ControlParts } from '../parts.ts';
import { readMembers } from '../store-members.ts';
import { OwnMembers } from './own-members.ts';

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-members-'));
after(() => fs.rmSync(top, { recursive: true }));
const authority = newAuthority('c1');

/** An etcd whose first member is that of node a, as etcd 3.4 is: one learner at a time, which it promotes once it `hasCaughtUp`. */
class EtcdDouble {
  members: EtcdMember[] = [
    {
      id: '1',
      name: 'a',
      peerUrls: ['https://10.0.0.1:7174'],
      clientUrls: ['https://10.0.0.1:7173'],
      isLearner: false,
    },
  ];
  hasCaughtUp = false;
  used: readonly string[] = [];

  list = (): Promise<readonly EtcdMember[]> => Promise.resolve(this.members);

  async add(peerUrl: string): Promise<void> {
    if (this.members.some(({ isLearner }) => isLearner)) throw refused('too many learner members');
    const id = String(this.members.length + 1);
    this.members.push({ id, name: '', peerUrls: [peerUrl], clientUrls: [], isLearner: true });
  }

  async promote(id: string): Promise<void> {
    if (!this.hasCaughtUp) throw refused('can only promote a learner member which is in sync');
    this.#change(id, { isLearner: false });
  }

  async remove(id: string): Promise<void> {
    this.members = this.members.filter((member) => member.id !== id);
  }

  useEndpoints(endpoints: readonly string[]): void {
    this.used = endpoints;
  }

  /** It was started, and says who it is. */
  begin(id: string, name: string, clientUrl: string): void {
    this.#change(id, { name, clientUrls: [clientUrl] });
  }

  #change(id: string, changed: Partial<EtcdMember>): void {
    this.members = this.members.map((member) =>
      member.id === id ? { ...member, ...changed } : member,
    );
  }
}

const refused = (problem: string): Fault => new Fault('STORE_FAILED', { problem });

function nodeOf(node: string, etcd: EtcdDouble, { hasKey }: { readonly hasKey: boolean }) {
  const directory = path.join(fs.mkdtempSync(path.join(top, 'n-')), node);

  keepIdentity(directory, {
    authority: authority.certificate,
    ...newNodeCertificate(authority, { cluster: 'c1', node }),
  });
  if (hasKey) keepAuthority(directory, authority);
  const host = `10.0.0.${node.charCodeAt(0) - 96}`;
  const parts = { installation: { directory }, log: () => undefined };
  const own = new OwnMembers(parts as unknown as ControlParts, {
    identity: {
      cluster: 'c1',
      node,
      labels: { region: '', zone: '', rack: '' },
      peer: { host, port: 7171, sealed: true },
    },
    members: etcd,
  });
  return { directory, own, clientUrl: `https://${host}:7173` };
}

test('a node with the key becomes a learner, is configured, and gets its vote once it has caught up', async () => {
  const etcd = new EtcdDouble();
  const b = nodeOf('b', etcd, { hasKey: true });
  const c = nodeOf('c', etcd, { hasKey: true });
  assert.equal(await b.own.look(), false);
  assert.deepEqual(etcd.members[1]?.peerUrls, ['https://10.0.0.2:7174']);
  assert.ok(!fs.existsSync(etcdFileOf(b.directory)), 'it is a member before it is started');
  await assert.rejects(c.own.look(), /too many learner/);
  assert.equal(await b.own.look(), false);
  const settings = JSON.parse(fs.readFileSync(etcdFileOf(b.directory), 'utf8'));
  assert.equal(settings['initial-cluster'], 'a=https://10.0.0.1:7174,b=https://10.0.0.2:7174');
  assert.equal(settings['initial-cluster-state'], 'existing');
  await assert.rejects(b.own.look(), /in sync/);
  etcd.begin('2', 'b', b.clientUrl);
  etcd.hasCaughtUp = true;
  assert.equal(await b.own.look(), false);
  assert.deepEqual(readMembers(b.directory), ['https://10.0.0.1:7173'], 'a learner serves nobody');
  assert.equal(await b.own.look(), true);
  assert.deepEqual(readMembers(b.directory), [b.clientUrl, 'https://10.0.0.1:7173']);
  assert.deepEqual(etcd.used, readMembers(b.directory));
  assert.equal(await c.own.look(), false, 'now it is the turn of the next');
});

test('the first member makes a cluster once: without its data it does not begin another', async () => {
  const a = nodeOf('a', new EtcdDouble(), { hasKey: true });
  const node = { cluster: 'c1', node: 'a', peer: { host: '10.0.0.1', port: 7171 } };
  const members = [['a', 'https://10.0.0.1:7174']] as const;
  keepMember(a.directory, node, { authority, members, isFirst: true });
  const state = (): unknown =>
    JSON.parse(fs.readFileSync(etcdFileOf(a.directory), 'utf8'))['initial-cluster-state'];
  assert.equal(state(), 'new');
  assert.equal(await a.own.look(), true);
  assert.equal(state(), 'existing');
});

test('a node without the key only follows the members', async () => {
  const etcd = new EtcdDouble();
  const d = nodeOf('d', etcd, { hasKey: false });
  assert.equal(await d.own.look(), true);
  assert.equal(etcd.members.length, 1);
  assert.deepEqual(readMembers(d.directory), ['https://10.0.0.1:7173']);
  etcd.members = [];
  assert.equal(await d.own.look(), true);
  assert.deepEqual(readMembers(d.directory), ['https://10.0.0.1:7173'], 'nothing is no news');
});

test('a member that was taken out stays out', async () => {
  const etcd = new EtcdDouble();
  const b = nodeOf('b', etcd, { hasKey: true });
  await b.own.look();
  await b.own.look();
  await b.own.remove({ host: '10.0.0.2', port: 7171 });
  await b.own.remove({ host: '10.0.0.2', port: 7171 });
  assert.equal(await b.own.look(), true);
  assert.equal(etcd.members.length, 1);
});
