/** holdfast docker … */

import type { Command } from 'commander';

import type { PluginView } from '../../control/routes/docker-plugins.ts';
import { addCommand, contextOf } from '../context.ts';
import { table } from '../output.ts';

const NAME_DEFAULT = 'holdfast';

const path = (name: string): string => `/v1/docker-plugins/${encodeURIComponent(name)}`;

/** Adds `holdfast docker` with its subcommands. */
export function addDockerCommands(program: Command): void {
  const docker = program
    .command('docker')
    .description('Volume plugins: volumes for the containers of Docker and Podman');
  addCommand(docker, 'enable [name]', {
    purpose: `Makes volumes usable by Docker and Podman, as a volume plugin (default: ${NAME_DEFAULT}). It listens whenever Holdfast runs.`,
    example: 'holdfast docker enable',
  }).action(async (name: string = NAME_DEFAULT, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.put<PluginView>(path(name), {});
    output.result(
      view,
      `Plugin "${name}" listens at ${view.socket}: docker volume create -d ${name} -o size=10GiB db`,
    );
  });
  addCommand(docker, 'disable [name]', {
    purpose: 'Ends a volume plugin. Volumes stay, and so does what containers have mounted.',
    example: 'holdfast docker disable',
  }).action(async (name: string = NAME_DEFAULT, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.delete<{ removed: boolean }>(path(name));
    output.result(
      view,
      view.removed ? `Plugin "${name}" is disabled` : `There was no plugin "${name}"`,
    );
  });
  addCommand(docker, 'ls', {
    purpose: 'Lists the volume plugins.',
    example: 'holdfast docker ls',
  }).action(async (_: object, command: Command) => {
    const { api, output } = contextOf(command);
    const plugins = await api.get<PluginView[]>('/v1/docker-plugins');
    const rows = plugins.map(({ name, state, socket, reason }) => [
      name,
      state,
      socket,
      reason ?? '',
    ]);
    output.result(plugins, table(['NAME', 'STATE', 'SOCKET', 'REASON'], rows));
  });
}
