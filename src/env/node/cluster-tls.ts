/**
 * TLS between the nodes of a cluster (docs/peer-protocol.md, "Who is who"): both ends show a certificate of the cluster's own authority, and
 * what a node is called stands in it. Names of DNS and addresses play no part.
 */

import { constants } from 'node:crypto';
import tls from 'node:tls';

import type { TcpAddress } from '../tcp-address.ts';

/** PEM texts, and the id of the cluster that the certificate is of. */
export type NodeIdentity = {
  readonly cluster: string;
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
};

/** A connection whose other end has proved what it is. Its owner hears of 'error' and 'close' on the socket. */
export type ClusterConnection = {
  /** The node at the other end. */
  readonly node: string;
  readonly socket: tls.TLSSocket;
};

export type ClusterListener = { readonly port: number; close(): void };

const SUBJECT = /^URI:holdfast:\/\/([a-z0-9-]{1,64})\/node\/([a-z0-9-]{1,64})$/;
/** A handshake that is not over by then never will be. */
const HANDSHAKE_MS = 1000;
/** A connection on which nothing comes or goes for so long is closed by who accepted it. */
const SILENT_MS = 60_000;
/** Of other nodes, each of which has one, and of whoever is in a handshake. */
const CONNECTION_COUNT_MAX = 512;

/** Listens for nodes of the cluster. Whoever is none is refused and told of by `onRefused`. Rejects where the address cannot be had. */
export async function listenForNodes(
  identity: NodeIdentity,
  address: TcpAddress,
  on: {
    onConnection(connection: ClusterConnection): void;
    onRefused(reason: string): void;
  },
): Promise<ClusterListener> {
  const options = {
    ...sides(identity),
    requestCert: true,
    rejectUnauthorized: true,
    noDelay: true,
    handshakeTimeout: HANDSHAKE_MS,
  };
  const server = tls.createServer(options, (socket) => {
    const subject = subjectOf(socket);
    const node = nodeOf(subject, identity.cluster);
    if (node !== undefined) {
      socket.setTimeout(SILENT_MS, () => socket.destroy());
      on.onConnection({ node, socket });
      return;
    }
    // It is nobody whose errors matter.
    socket.on('error', () => {});
    socket.destroy();
    on.onRefused(strangerIs(subject));
  });
  server.maxConnections = CONNECTION_COUNT_MAX;
  server.on('tlsClientError', (error) => on.onRefused(error.message));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  return { port, close: () => void server.close() };
}

/** Connects to the engine of `node`. Rejects if it is not reached within a second, or is not that node of this cluster. */
export function dialNode(
  identity: NodeIdentity,
  address: TcpAddress,
  node: string,
): Promise<ClusterConnection> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(address.port, address.host, {
      rejectUnauthorized: true,
      secureContext: contextOf(identity),
      // What it must be called is checked below: the address is no name of it.
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay();
    const limit = setTimeout(
      () => socket.destroy(new Error(`no handshake with node "${node}" within ${HANDSHAKE_MS} ms`)),
      HANDSHAKE_MS,
    );
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(limit));
    socket.once('secureConnect', () => {
      clearTimeout(limit);
      const subject = subjectOf(socket);
      if (nodeOf(subject, identity.cluster) !== node) {
        socket.destroy(new Error(`wanted node "${node}": ${strangerIs(subject)}`));
        return;
      }
      socket.off('error', reject);
      resolve({ node, socket });
    });
  });
}

/**
 * `lengthBytes` that only the two ends of this connection know, the same at both for one label and context (RFC 8446, section 7.5). The
 * caller owns and wipes them.
 */
export function exportKeys(
  { socket }: ClusterConnection,
  lengthBytes: number,
  { label, context }: { readonly label: string; readonly context: Uint8Array },
): Uint8Array {
  return new Uint8Array(socket.exportKeyingMaterial(lengthBytes, label, Buffer.from(context)));
}

/** Of each identity that dials: a node that is away is dialled many times a second, and reading PEM texts is half of that. */
const contexts = new WeakMap<NodeIdentity, tls.SecureContext>();

function contextOf(identity: NodeIdentity): tls.SecureContext {
  let context = contexts.get(identity);
  if (context === undefined) {
    context = tls.createSecureContext(sides(identity));
    contexts.set(identity, context);
  }
  return context;
}

/** What both sides of a connection ask for. No session is resumed: each has a handshake, and thus keys, of its own. */
function sides({ authority, certificate, key }: NodeIdentity) {
  return {
    ca: [authority],
    cert: certificate,
    key,
    minVersion: 'TLSv1.3' as const,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** The node that a certificate is of; undefined: of none of this cluster. */
function nodeOf(subject: string, cluster: string): string | undefined {
  const [, itsCluster, node] = SUBJECT.exec(subject) ?? [];
  return itsCluster === cluster ? node : undefined;
}

function strangerIs(subject: string): string {
  return `the certificate of the other end is for "${subject}"`;
}

/** What the certificate of the other end is for; empty where its chain is not right. Asked once for a connection: to a dialling end Node gives none the second time (24.21). */
function subjectOf(socket: tls.TLSSocket): string {
  return socket.authorized ? (socket.getPeerX509Certificate()?.subjectAltName ?? '') : '';
}
