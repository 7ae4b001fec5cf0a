/** holdfast token … */

import type { Command } from 'commander';

import { findToken, rotateToken } from '../../control/api-token.ts';
import { Refusal } from '../../model/errors.ts';
import { addCommand, contextOf } from '../context.ts';
import { findInstallation } from './find-installation.ts';

/** Adds `holdfast token` with its subcommands. */
export function addTokenCommands(program: Command): void {
  const token = program
    .command('token')
    .description('The secret that opens the API over TCP (up --listen)');
  const add = (name: 'show' | 'rotate', purpose: string): void => {
    const example = `holdfast token ${name}`;
    addCommand(token, name, { purpose, example, isLocal: true }).action(
      (_: object, command: Command) => {
        const { installation, output } = contextOf(command);
        if (!findInstallation(installation)) {
          const { directory: path } = installation;
          throw new Refusal('INSTALLATION_FOREIGN', { path, problem: 'there is none' });
        }
        const text = name === 'show' ? findToken(installation) : rotateToken(installation);
        output.result({ token: text, file: installation.tokenFile }, text);
      },
    );
  };
  add('show', 'Prints the token, which is made at its first use.');
  add('rotate', 'Makes another token and prints it. The one before opens nothing from now on.');
}
