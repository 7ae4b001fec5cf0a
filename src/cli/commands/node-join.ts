/** holdfast node token, tokens, revoke and join: how machines become nodes. */

import { randomBytes } from 'node:crypto';
import process from 'node:process';

import type { Command } from 'commander';

import { joinTokenId } from '../../control/cluster/join-tokens.ts';
import type { JoinPlaceView, JoinTokenView } from '../../control/node-schemas.ts';
import { formatJoinToken, parseJoinToken } from '../../model/join-token.ts';
import { addCommand, contextOf } from '../context.ts';
import { table } from '../output.ts';
import { type NodeOptions, addNodeOptions, makeNode, wishOf } from './cluster.ts';

const SECRET_BYTES = 32;

/** Adds them to `holdfast node`. */
export function addJoinCommands(node: Command): void {
  addCommand(node, 'token', {
    purpose: 'Prints a token with which one machine can join the cluster, within a day.',
    example: 'holdfast node token',
  }).action(async (_: object, command: Command) => {
    const { api, output } = contextOf(command);
    // The cluster gets the hash alone, and neither records nor logs can tell the secret.
    const secret = randomBytes(SECRET_BYTES).toString('hex');
    const place = await api.put<JoinPlaceView>(pathOf(joinTokenId(secret)), {});
    const { id, cluster, authority, addresses, endsAt } = place;
    const token = formatJoinToken({ cluster, authority, secret, addresses });
    output.result({ token, id, endsAt }, token);
  });
  addCommand(node, 'tokens', {
    purpose: 'Lists the tokens with which machines can join, or have joined.',
    example: 'holdfast node tokens',
  }).action(async (_: object, command: Command) => {
    const { api, output } = contextOf(command);
    const tokens = await api.get<JoinTokenView[]>('/v1/join-tokens');
    const rows = tokens.map((token) => [token.id, token.state, token.node ?? '', token.endsAt]);
    output.result(tokens, table(['ID', 'STATE', 'NODE', 'ENDS'], rows));
  });
  addCommand(node, 'revoke <id>', {
    purpose: 'Has a token let nobody join any more. A node that it has made stays.',
    example: 'holdfast node revoke 0123456789abcdef0123456789abcdef',
  }).action(async (id: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.delete<{ removed: boolean }>(pathOf(encodeURIComponent(id)));
    output.result(view, view.removed ? `Token ${id} is revoked` : `There was no token ${id}`);
  });
  addJoin(node);
}

function addJoin(node: Command): void {
  addNodeOptions(
    addCommand(node, 'join <token>', {
      purpose:
        'Makes this machine a node of the cluster whose token it is given, by itself or, as "-", on standard input. holdfast up then starts it.',
      example: 'holdfast node join - --name b --listen 10.0.0.2',
      isLocal: true,
    }),
  ).action(async (word: string, options: NodeOptions, command: Command) => {
    // Whoever lists processes reads it from now on no more.
    process.title = 'holdfast node join';
    const context = contextOf(command);
    const { directory } = context.installation;
    const wish = wishOf(options);
    const token = parseJoinToken(word === '-' ? await readInput() : word);
    const { joinCluster } = await import('../join-cluster.ts');
    await makeNode(context, () => joinCluster(directory, token, wish));
    const { cluster } = token;
    context.output.result(
      { cluster, node: wish.node, dataDir: directory },
      `"${directory}" is node "${wish.node}" of cluster ${cluster}. holdfast up starts it`,
    );
  });
}

async function readInput(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += String(chunk);
  return text;
}

const pathOf = (id: string): string => `/v1/join-tokens/${id}`;
