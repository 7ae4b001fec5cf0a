/**
 * The accepting end of a control connection: tells another node's engine who this one is, and gives it tickets for data connections
 * (docs/peer-protocol.md, "Control connection"). It runs between the turns of the reactor, and touches nothing of it.
 */

import { type ClusterConnection, exportKeys } from '../../env/node/cluster-tls.ts';
import { EXPORT_BYTES, EXPORT_LABEL } from '../../peer/keys.ts';
import { hexOf } from '../../peer/prelude.ts';
import type { Tickets } from '../../peer/tickets.ts';
import {
  type JsonObject,
  type LineError,
  type LineRequest,
  LineSplitter,
  formatLineError,
  formatLineOk,
  parseLineRequest,
} from '../../wire/line-protocol.ts';
import { CALLS_MAX, PEER_VERSIONS, peerRefusal } from './control-calls.ts';

export type AcceptedHost = {
  /** This node, and its engine: a random id of the process. */
  readonly node: string;
  readonly engine: string;
  readonly tickets: Tickets;
  /** Where data connections are accepted. */
  readonly dataPort: number;
  /** Frames in clear are refused. */
  readonly mustSeal: boolean;
  /** Whether the cluster has this node: asked at each ticket. */
  isListed(node: string): boolean;
  hasReplica(replica: string): boolean;
  /** The other end does not keep to the protocol, or was refused; for the log. */
  onRefused(problem: string): void;
  onClosed(): void;
};

type Answer = { readonly ok: JsonObject } | { readonly error: LineError };

export class AcceptedNode {
  readonly node: string;
  readonly #connection: ClusterConnection;
  readonly #host: AcceptedHost;
  readonly #splitter = new LineSplitter();
  #isGreeted = false;
  /** Calls whose answers the socket has not taken. */
  #unansweredCount = 0;

  constructor(connection: ClusterConnection, host: AcceptedHost) {
    const { node, socket } = connection;
    this.node = node;
    this.#connection = connection;
    this.#host = host;
    socket.on('error', () => this.close());
    socket.on('close', () => host.onClosed());
    socket.on('data', (bytes) => this.#take(bytes));
  }

  close(): void {
    this.#connection.socket.destroy();
  }

  #take(bytes: Uint8Array): void {
    const lines = this.#splitter.take(bytes);
    if (lines === undefined) this.#end('a line is too long');
    for (const line of lines ?? []) {
      const request = parseLineRequest(line);
      const problem = 'problem' in request ? request.problem : this.#perform(request);
      if (problem === undefined) continue;
      this.#end(problem);
      return;
    }
  }

  /** Undefined: it is answered. Else the connection is of no more use. */
  #perform(request: LineRequest): string | undefined {
    if (this.#unansweredCount === CALLS_MAX) return `more than ${CALLS_MAX} calls wait`;
    if (request.call !== 'hello' && !this.#isGreeted) return 'the first call is "hello"';
    const answer = this.#answer(request);
    if (typeof answer === 'string') return answer;
    this.#unansweredCount += 1;
    const { id } = request;
    if ('error' in answer) this.#host.onRefused(answer.error.message);
    const line = 'ok' in answer ? formatLineOk(id, answer.ok) : formatLineError(id, answer.error);
    this.#connection.socket.write(line, () => (this.#unansweredCount -= 1));
    return undefined;
  }

  #answer({ call, args }: LineRequest): Answer | string {
    const { versions, node, replica, sealed } = args;
    if (call === 'hello') {
      if (!Array.isArray(versions)) return '"versions" is a list of numbers';
      return this.#hello(versions, node);
    }
    if (call !== 'ticket') return `there is no call "${call.slice(0, 80)}"`;
    if (typeof replica !== 'string') return '"replica" is a string';
    if (typeof sealed !== 'boolean') return '"sealed" is true or false';
    return this.#ticket(replica, sealed);
  }

  #hello(versions: readonly unknown[], node: unknown): Answer {
    const { engine } = this.#host;
    const version = PEER_VERSIONS.findLast((each) => versions.includes(each));
    if (version === undefined) {
      return { error: peerRefusal('PEER_VERSION', { asked: versions, spoken: PEER_VERSIONS }) };
    }
    if (node !== this.node) {
      return { error: peerRefusal('PEER_IDENTITY', { certificate: this.node, hello: node }) };
    }
    this.#isGreeted = true;
    return { ok: { version, node: this.#host.node, engine } };
  }

  #ticket(replica: string, sealed: boolean): Answer {
    const { tickets, dataPort, mustSeal } = this.#host;
    const { node } = this;
    if (!this.#host.isListed(node)) return { error: peerRefusal('PEER_IDENTITY', { node }) };
    if (!this.#host.hasReplica(replica)) {
      return { error: peerRefusal('PEER_NO_REPLICA', { replica }) };
    }
    if (mustSeal && !sealed) return { error: peerRefusal('PEER_MUST_SEAL') };
    const ticket = tickets.draw();
    if (ticket === undefined) return { error: peerRefusal('PEER_FULL') };
    const label = { label: EXPORT_LABEL, context: ticket };
    const exported = exportKeys(this.#connection, EXPORT_BYTES, label);
    tickets.give(ticket, { replica, sealed, exported });
    return { ok: { ticket: hexOf(ticket), port: dataPort } };
  }

  #end(problem: string): void {
    this.#host.onRefused(problem);
    this.close();
  }
}
