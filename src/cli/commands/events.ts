/** holdfast events. */

import type { Command } from 'commander';

import type { EventView } from '../../control/event-schemas.ts';
import type { ApiClient } from '../api-client.ts';
import { addCommand, contextOf } from '../context.ts';
import type { Output } from '../output.ts';

type EventOptions = { volume?: string; follow?: boolean };

/** Adds the command to the program. */
export function addEventCommands(program: Command): void {
  addCommand(program, 'events', {
    purpose: 'Tells what happened by itself, and why: the newest last.',
    example: 'holdfast events --volume db',
  })
    .option('--volume <name>', 'of this volume alone')
    .option('--follow', 'go on with what happens from now on, until Ctrl-C')
    .action(async ({ volume, follow }: EventOptions, command: Command) => {
      const { api, output } = contextOf(command);
      const subject = volume === undefined ? undefined : `volume/${volume}`;
      if (follow !== true) {
        const events = await eventsOf(api, volume);
        output.result(events, events.map(eventInWords).join('\n') || 'Nothing happened by itself');
        return;
      }
      // First who watches, then what was before: nothing between is missed, and what is in both is told once.
      const told = new Set<string>();
      const tell = (event: EventView): void => {
        if (told.has(event.id) || (subject !== undefined && event.subject !== subject)) return;
        told.add(event.id);
        printLine(output, event);
      };
      await api.watch('/v1/watch?kind=event', {
        onOpen: async () => {
          for (const event of await eventsOf(api, volume)) tell(event);
        },
        onData: (data) => tell((JSON.parse(data) as { readonly object: EventView }).object),
      });
    });
}

/** The newest last. Throws VOLUME_NOT_FOUND, with similar names, where nothing tells that there ever was such a volume. */
async function eventsOf(api: ApiClient, volume: string | undefined): Promise<EventView[]> {
  if (volume === undefined) return (await api.get<EventView[]>('/v1/events')).toReversed();
  const name = encodeURIComponent(volume);
  const events = await api.get<EventView[]>(`/v1/events?subject=volume%2F${name}`);
  if (events.length === 0) await api.get(`/v1/volumes/${name}`);
  return events.toReversed();
}

/** One event on a line of its own; for programs one JSON object a line. */
function printLine(output: Output, event: EventView): void {
  process.stdout.write(`${output.kind === 'json' ? JSON.stringify(event) : eventInWords(event)}\n`);
}

/** An event in a line. */
export function eventInWords({ at, node, what, cause }: EventView): string {
  return `${at}  ${node === null ? '' : `${node}: `}${what}${cause === null ? '' : `: ${cause}`}`;
}
