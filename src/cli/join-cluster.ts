/** Makes a node of a cluster of an installation that is nothing yet: the machine's side of docs/cluster.md, "Machines that join". */

import type { IncomingMessage } from 'node:http';
import tls from 'node:tls';
import fs from 'node:fs';
import path from 'node:path';

import { authorityHash, keepAuthorityKey, newKey } from '../control/cluster-authority.ts';
import { replaceFile } from '../control/installation.ts';
import {
  JOIN_BYTES_MAX,
  JOIN_PATH,
  type JoinAnswer,
  type JoinRequest,
  signedRequest,
} from '../control/join-protocol.ts';
import { type NodeWish, keepIdentity, keepNode } from '../control/node-files.ts';
import type { ProblemView } from '../control/schemas.ts';
import { keepStore } from '../control/store-handout.ts';
import { https } from '../env/node/http.ts';
import { makeDirectory } from '../env/node/make-directory.ts';
import { nodeFileOf, readNode, tlsFilesOf } from '../env/node/node-identity.ts';
import type { TcpAddress } from '../env/tcp-address.ts';
import { Refusal } from '../model/errors.ts';
import { type JoinToken, addressParts } from '../model/join-token.ts';
import { ApiProblem } from './api-client.ts';

/** Of one node of the cluster: then the next one is asked. */
const CONNECT_MS = 5000;
const ANSWER_MS = 20_000;

/**
 * Makes the installation in `directory` (absolute) the node that is wanted. Whatever interrupts it, the same again goes on; one that is that
 * node already stays. Throws CLUSTER_INVALID where it is another one, JOIN_UNREACHABLE, and what the cluster answers.
 */
export async function joinCluster(
  directory: string,
  token: JoinToken,
  wish: NodeWish,
): Promise<void> {
  if (isMade(directory, token, wish)) return;
  // The private key is durable before its public key gets a certificate, and never leaves the machine.
  const { key: keyFile } = tlsFilesOf(directory);
  makeDirectory(path.dirname(keyFile), 0o700);
  if (!fs.existsSync(keyFile)) replaceFile(keyFile, newKey());
  const key = fs.readFileSync(keyFile, 'utf8');
  const { node, labels, peer } = wish;
  const request = signedRequest({ secret: token.secret, node, labels, ...peer }, key);
  const answer = await ask(token, request);
  const { authority, certificate, authorityKey } = answer;
  keepIdentity(directory, { authority, certificate, key });
  if (authorityKey !== undefined) keepAuthorityKey(directory, authorityKey);
  keepStore(directory, answer.store);
  keepNode(directory, { cluster: token.cluster, ...wish });
}

/** Whether it is that node. Throws CLUSTER_INVALID where it is another. */
function isMade(directory: string, token: JoinToken, { node }: NodeWish): boolean {
  const known = readNode(directory);
  if (known === undefined) return false;
  if (known.cluster === token.cluster && known.node === node) return true;
  const problem = `it is node "${known.node}" of cluster ${known.cluster} already`;
  throw new Refusal('CLUSTER_INVALID', { file: nodeFileOf(directory), problem });
}

/** Asks the nodes of the token one after the other until one answers. */
async function ask(token: JoinToken, request: JoinRequest): Promise<JoinAnswer> {
  const problems: string[] = [];
  for (const address of token.addresses) {
    try {
      const authority = await meet(addressParts(address), token);
      return await send(addressParts(address), { authority, request });
    } catch (error) {
      if (error instanceof ApiProblem) throw error;
      problems.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Refusal('JOIN_UNREACHABLE', {
    addresses: token.addresses.join(', '),
    problem: problems.join('; '),
  });
}

/** The certificate, in PEM, of the authority that the token names. Rejects where another one is shown; nothing is sent to it. */
function meet({ host, port }: TcpAddress, token: JoinToken): Promise<string> {
  return new Promise((resolve, reject) => {
    // Whom to trust is known by its hash alone, which is compared below.
    const socket = tls.connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      const raw = socket.getPeerCertificate(true).issuerCertificate?.raw;
      const pem =
        raw === undefined
          ? ''
          : `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----\n`;
      socket.destroy();
      if (raw !== undefined && authorityHash(pem) === token.authority) resolve(pem);
      else reject(new Error('who answers there is not of the cluster of this token'));
    });
  });
}

/** Sends the request to a node that has a certificate of `authority`. */
function send(
  { host, port }: TcpAddress,
  { authority, request }: { readonly authority: string; readonly request: JoinRequest },
): Promise<JoinAnswer> {
  return new Promise((resolve, reject) => {
    const sent = https.request({
      host,
      port,
      path: JOIN_PATH,
      method: 'POST',
      ca: authority,
      minVersion: 'TLSv1.3',
      // The authority is the cluster's own, and certifies nothing but its nodes.
      checkServerIdentity: () => undefined,
      agent: false,
      timeout: ANSWER_MS,
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer')));
    sent.once('error', reject);
    sent.once('response', (response) => readAnswer(response).then(resolve, reject));
    sent.end(JSON.stringify(request));
  });
}

async function readAnswer(response: IncomingMessage): Promise<JoinAnswer> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > JOIN_BYTES_MAX) throw new Error('its answer is too long');
  }
  const body: JoinAnswer | ProblemView = JSON.parse(text);
  if ('code' in body) throw new ApiProblem(body);
  if (body.version !== 1) throw new Error('this is no answer to a join that this build knows');
  return body;
}
