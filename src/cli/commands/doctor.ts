/** holdfast doctor. */

import type { Command } from 'commander';

import { addCommand, contextOf } from '../context.ts';
import type { Check } from '../doctor/check.ts';

const EXIT_PROBLEMS = 1;

/** Adds the command to the program. */
export function addDoctorCommand(program: Command): void {
  addCommand(program, 'doctor', {
    purpose:
      'Checks the machine and the installation, before and after up. Ends with 1 where something keeps Holdfast from working.',
    example: 'holdfast doctor',
    isLocal: true,
  }).action(async (_: object, command: Command) => {
    const context = contextOf(command);
    // What it needs, no other command does.
    const { examine } = await import('../doctor/examine.ts');
    const checks = await examine(context);
    const problems = checks.filter(({ verdict }) => verdict === 'problem').length;
    const warnings = checks.filter(({ verdict }) => verdict === 'warning').length;
    const summary =
      problems + warnings === 0 ? 'All is well' : `${problems} problems, ${warnings} warnings`;
    context.output.result(
      { problems, warnings, checks },
      [...checks.map(inWords), '', summary].join('\n'),
    );
    if (problems > 0) process.exitCode = EXIT_PROBLEMS;
  });
}

function inWords({ name, verdict, detail, wayOut }: Check): string {
  const line = `${verdict.padEnd(7)}  ${name}: ${detail}`;
  return wayOut === undefined ? line : `${line}\n${' '.repeat(9)}${wayOut}`;
}
