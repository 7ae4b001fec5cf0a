/**
 * How a machine becomes a node, as HTTPS (TLS 1.3) on the join port of a node that has the key of the cluster's authority: `POST /v1/join`
 * with a {@link JoinRequest}, answered by a {@link JoinAnswer} or by problem details as those of the API (RFC 9457). The server shows the
 * node's certificate and the authority's, whose SHA-256 the token has. docs/cluster.md, "Machines that join".
 */

import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';

import { formatTcpAddress } from '../env/tcp-address.ts';
import { isNodeName } from '../model/ids.ts';
import type { NodeLabels } from '../model/records.ts';
import { nodeAddressProblem } from './node-ports.ts';

export const JOIN_PATH = '/v1/join';
/** Requests and answers hold some certificates, of 1 KiB each. */
export const JOIN_BYTES_MAX = 64 * 1024;

export type JoinRequest = {
  readonly version: 1;
  /** The token's. */
  readonly secret: string;
  readonly node: string;
  readonly labels: NodeLabels;
  /** Where its engine will listen. */
  readonly host: string;
  readonly port: number;
  /** PEM, of P-256. The private key stays on the machine. */
  readonly publicKey: string;
  /** Made with that private key over what it asks for ({@link signedText}), in base64: ECDSA with SHA-256. */
  readonly signature: string;
};

export type JoinAnswer = {
  readonly version: 1;
  readonly cluster: string;
  /** PEM: the certificate of the authority, and that of the node. */
  readonly authority: string;
  readonly certificate: string;
  /** PEM: for one of the first three nodes. */
  readonly authorityKey?: string;
  /** What DIR/store.json is to have, and the files beside it, by name. */
  readonly store: { readonly settings: object; readonly files: Readonly<Record<string, string>> };
};

type Asked = Omit<JoinRequest, 'signature'>;

/** The request, signed with the node's private key (PEM). */
export function signedRequest(
  asked: Omit<Asked, 'version' | 'publicKey'>,
  key: string,
): JoinRequest {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  const request: Asked = { version: 1, ...asked, publicKey };
  const signature = sign('sha256', signedText(request), createPrivateKey(key)).toString('base64');
  return { ...request, signature };
}

/** Why `value` is no request, in words; undefined: it is one, and who sent it has the private key. */
export function joinProblem(value: unknown): string | undefined {
  const request = value as JoinRequest;
  if (typeof value !== 'object' || value === null) return 'the request is no JSON object';
  const { version, secret, node, labels, host, port, publicKey, signature } = request;
  if (version !== 1) return `the request has version ${String(version)}, and this node speaks 1`;
  if (!isNodeName(node)) return 'a node\'s name is 1 to 64 small letters, digits and "-"';
  if (typeof secret !== 'string') return 'the request has no secret';
  if (nodeAddressProblem({ host, port }) !== undefined) return 'a node listens on an IP address';
  if (!isLabels(labels)) return 'a label is up to 63 letters, digits, "_", "." and "-"';
  if (typeof publicKey !== 'string' || typeof signature !== 'string') return 'it has no key';
  return isSigned(request) ? undefined : 'its signature is not that of its key';
}

function isLabels(value: unknown): value is NodeLabels {
  if (typeof value !== 'object' || value === null) return false;
  const { region, zone, rack, ...others } = value as Record<string, unknown>;
  const isLabel = (label: unknown): boolean =>
    typeof label === 'string' && /^[A-Za-z0-9_.-]{0,63}$/.test(label);
  return [region, zone, rack].every(isLabel) && Object.keys(others).length === 0;
}

function isSigned(request: JoinRequest): boolean {
  try {
    const key = createPublicKey(request.publicKey);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false;
    return verify('sha256', signedText(request), key, Buffer.from(request.signature, 'base64'));
  } catch {
    return false;
  }
}

function signedText({ secret, node, host, port, publicKey }: Asked): Buffer {
  const address = formatTcpAddress({ host, port });
  return Buffer.from(['holdfast join 1', secret, node, address, publicKey].join('\n'));
}
