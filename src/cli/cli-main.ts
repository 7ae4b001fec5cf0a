/** The CLI: a client of the REST API, and of the supervisor's files for up, down and uninstall. Exit codes: 0 done, 1 refused, 2 usage, 3 unreachable. */

import fs from 'node:fs';

import { Command, CommanderError } from 'commander';

import { packageVersion } from '../env/node/package-version.ts';
import { errnoInWords } from '../model/errno.ts';
import { Fault, Refusal, errorRow } from '../model/errors.ts';
import { ApiProblem } from './api-client.ts';
import { COMMANDS } from './commands.ts';
import { colored } from './output.ts';

const EXIT_REFUSED = 1;
const EXIT_USAGE = 2;

/** The program with all its commands, or those of which `word` is the first word if there are any. */
export async function newProgram(word?: string): Promise<Command> {
  const program = new Command('holdfast')
    .description('Replicated block volumes for containers, in user space')
    .version(packageVersion())
    .showHelpAfterError('(holdfast --help lists the commands)')
    .showSuggestionAfterError(true)
    .exitOverride()
    .addHelpText(
      'after',
      '\nExample:\n  holdfast up --detach && holdfast volume create db --size 2GiB && holdfast volume mount db\n',
    );
  const asked = COMMANDS.filter(({ words }) => words.includes(word ?? ''));
  for (const { add } of asked.length > 0 ? asked : COMMANDS) (await add())(program);
  return program;
}

/** Runs one command. Returns its exit code. */
export async function cliMain(words: readonly string[]): Promise<number> {
  const program = await newProgram(words[0]);
  if (words[0] === 'complete' && words[1] === '--') {
    const { printCandidates } = await import('./complete.ts');
    await printCandidates(program, words.slice(2));
    return 0;
  }
  const json = wantsJson(words);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', endOutput);
  inherit(program, json);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return report(error, json);
  }
}

/** Nobody reads what is printed (`| head`), or it finds no room: there is nothing left to do. */
function endOutput(error: NodeJS.ErrnoException): never {
  if (error.code !== 'EPIPE') {
    try {
      fs.writeSync(2, `Cannot print: ${error.message}\n`);
    } catch {
      // Standard error is as full.
    }
  }
  process.exit(error.code === 'EPIPE' ? 0 : EXIT_REFUSED);
}

/** Subcommands end by exception too, so that their exit codes are ours, and so is what a program reads of usage errors. */
function inherit(command: Command, json: boolean): void {
  command.exitOverride().showSuggestionAfterError(true);
  if (json) command.configureOutput({ writeErr: () => undefined });
  for (const child of command.commands) inherit(child, json);
}

function wantsJson(words: readonly string[]): boolean {
  const at = words.indexOf('--output');
  return words.includes('--output=json') || (at >= 0 && words[at + 1] === 'json');
}

/** What the system refused of a file that the user named. */
function pathProblem(error: unknown) {
  const { errno, syscall, path } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'number' || path === undefined) return undefined;
  const refusal = new Refusal('PATH_INVALID', {
    path,
    problem: `${syscall}: ${errnoInWords(-errno)}`,
  });
  return { code: refusal.code, detail: refusal.message, exit: EXIT_REFUSED };
}

function usageProblem(error: CommanderError): { readonly code: string; readonly detail: string } {
  // Without a subcommand commander shows its help, which is no message.
  const detail =
    error.code === 'commander.help'
      ? 'a command is missing'
      : error.message.slice('error: '.length);
  return { code: 'INPUT_INVALID', detail };
}

function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (json) process.stderr.write(`${JSON.stringify(usageProblem(error))}\n`);
    return EXIT_USAGE;
  }
  const known =
    error instanceof ApiProblem
      ? { ...error.problem, exit: error.exitCode }
      : error instanceof Refusal || error instanceof Fault
        ? {
            code: error.code,
            detail: error.message,
            wayOut: error.wayOut,
            exit: errorRow(error.code).exit,
            details: error.details,
          }
        : (pathProblem(error) ?? {
            code: 'INTERNAL',
            detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
            exit: EXIT_REFUSED,
          });
  const { exit, ...problem } = known;
  if (json) process.stderr.write(`${JSON.stringify(problem)}\n`);
  else
    process.stderr.write(
      `${colored('red', problem.detail, process.stderr)}\n${'wayOut' in problem && problem.wayOut !== undefined ? `${problem.wayOut}\n` : ''}`,
    );
  return exit;
}
