/** The commands, in the order of the help. Each is loaded when it is asked for: all of them take longer than most of them run. */

import type { Command } from 'commander';

type Commands = {
  /** The first words of those that {@link Commands.add} adds. */
  readonly words: readonly string[];
  readonly add: () => Promise<(program: Command) => void>;
};

export const COMMANDS: readonly Commands[] = [
  {
    words: ['up', 'down', 'upgrade', 'status', 'uninstall'],
    add: async () => (await import('./commands/installation.ts')).addInstallationCommands,
  },
  {
    words: ['install'],
    add: async () => (await import('./commands/install.ts')).addInstallCommand,
  },
  {
    words: ['drive'],
    add: async () => (await import('./commands/drive.ts')).addDriveCommands,
  },
  {
    words: ['volume'],
    add: async () => (await import('./commands/volume.ts')).addVolumeCommands,
  },
  {
    words: ['cluster'],
    add: async () => (await import('./commands/cluster.ts')).addClusterCommands,
  },
  {
    words: ['node'],
    add: async () => (await import('./commands/node.ts')).addNodeCommands,
  },
  {
    words: ['what-if'],
    add: async () => (await import('./commands/what-if.ts')).addWhatIfCommands,
  },
  {
    words: ['events'],
    add: async () => (await import('./commands/events.ts')).addEventCommands,
  },
  {
    words: ['explain'],
    add: async () => (await import('./commands/explain.ts')).addExplainCommands,
  },
  {
    words: ['doctor'],
    add: async () => (await import('./commands/doctor.ts')).addDoctorCommand,
  },
  {
    words: ['diagnostics'],
    add: async () => (await import('./commands/diagnostics.ts')).addDiagnosticsCommand,
  },
  {
    words: ['trash'],
    add: async () => (await import('./commands/trash.ts')).addTrashCommands,
  },
  {
    words: ['settings'],
    add: async () => (await import('./commands/settings.ts')).addSettingsCommands,
  },
  {
    words: ['store'],
    add: async () => (await import('./commands/store.ts')).addStoreCommands,
  },
  {
    words: ['operation'],
    add: async () => (await import('./commands/operation.ts')).addOperationCommands,
  },
  {
    words: ['token'],
    add: async () => (await import('./commands/token.ts')).addTokenCommands,
  },
  {
    words: ['docker'],
    add: async () => (await import('./commands/docker.ts')).addDockerCommands,
  },
  {
    words: ['verify-durability'],
    add: async () => (await import('./commands/verify-durability.ts')).addVerifyDurability,
  },
  {
    words: ['sim'],
    add: async () => (await import('./commands/sim.ts')).addSimCommand,
  },
  {
    words: ['completion'],
    add: async () => (await import('./commands/completion.ts')).addCompletionCommand,
  },
];
