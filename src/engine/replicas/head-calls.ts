/** The calls of engine.sock about replicas and heads: arguments checked, answers formed. docs/architecture.md has their table. */

import { Refusal } from '../../model/errors.ts';
import { parseRecord, recordJson } from '../../peer/record-json.ts';
import type { Record } from '../../replication/record.ts';
import type { TransactionOutcome } from '../../replication/set-changer.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { formatUuid } from '../../model/ids.ts';
import { attachIdOf, driveIdOf, flagOf, sizeBytesOf, volumeUuid } from '../call-arguments.ts';
import type { Call } from '../control-server.ts';
import type { DriveReplicas } from './drive-replicas.ts';
import type { Heads } from './heads.ts';
import type { Replicas } from './replicas.ts';

/** A client waits for so long before its session ends, unless `head.start` says otherwise: about as long as a missing replica is waited for. */
const STALL_LIMIT_MS = 600_000;

/** With up to 1 KiB each they fit a line. */
const REPORT_COUNT_MAX = 48;

/** By name. A volume is `uuid`, a replica `replica`: 32 hex digits, with or without dashes. */
export function headCalls(heads: Heads): { readonly [name: string]: Call } {
  return {
    'head.start': async (args) => ({
      ...(await heads.start({
        volume: volumeUuid(args),
        attachId: attachIdOf(args),
        record: recordOf(args, 'record'),
        head: headOf(args),
        local: args['local'] === undefined ? undefined : volumeUuid({ uuid: args['local'] }),
        clientLives: flagOf(args, 'clientLives'),
        places: placesOf(args),
        stallLimitMs: numberOf(args, 'stallLimitMs', STALL_LIMIT_MS),
      })),
    }),
    'head.next': async (args) => {
      const { transactions, ended } = await heads.next(flagOf(args, 'again'));
      return {
        transactions: transactions.map(({ volume, expected, next }) => ({
          uuid: formatUuid(volume),
          expected: recordJson(expected),
          next: recordJson(next),
        })),
        ended: ended.map(({ volume, attachId, end }) => ({
          uuid: formatUuid(volume),
          attachId,
          end,
        })),
      };
    },
    'head.outcome': (args) => {
      heads.outcome(volumeUuid(args), textOf(args, 'writer'), outcomeOf(args));
      return {};
    },
    'head.record': (args) => {
      heads.tellRecord(volumeUuid(args), recordOf(args, 'record'));
      return {};
    },
    'head.rebuild': (args) => {
      if (args['node'] !== undefined)
        heads.place(volumeUuid(args), replicaOf(args), textOf(args, 'node'));
      const replaced =
        args['replaced'] === undefined ? undefined : volumeUuid({ uuid: args['replaced'] });
      heads.rebuild(volumeUuid(args), replicaOf(args), replaced);
      return {};
    },
    'head.place': (args) => {
      heads.place(volumeUuid(args), replicaOf(args), textOf(args, 'node'));
      return {};
    },
    'head.scrub': (args) => {
      const bytesPerSecond = numberOf(args, 'bytesPerSecond');
      const offsetBytes = numberOf(args, 'offsetBytes', 0);
      if (bytesPerSecond === 0) throw invalid('"bytesPerSecond" is more than 0');
      heads.scrub(volumeUuid(args), { bytesPerSecond, offsetBytes });
      return {};
    },
    'head.grow': async (args) => {
      await heads.grow(volumeUuid(args), sizeBytesOf(args));
      return {};
    },
    'head.minimum': async (args) => {
      await heads.setMinimum(volumeUuid(args), minimumOf(args));
      return {};
    },
    'head.detach': async (args) => ({
      end: await heads.detach(volumeUuid(args), attachIdOf(args), { force: flagOf(args, 'force') }),
    }),
    'head.status': (args) => heads.status(volumeUuid(args)),
  };
}

/** The same of the replicas on this engine's drives. */
export function replicaCalls(
  onDrives: DriveReplicas,
  replicas: Replicas,
): { readonly [name: string]: Call } {
  return {
    'replica.create': (args) =>
      onDrives.create(driveIdOf(args), replicaOf(args), sizeBytesOf(args)),
    'replica.list': (args) => listReplicas(replicas, args),
    'replica.delete': (args) => onDrives.delete(replicaOf(args)),
  };
}

function listReplicas(replicas: Replicas, args: JsonObject): JsonObject {
  const after = args['after'] === undefined ? '' : volumeUuid({ uuid: args['after'] });
  const reports = replicas.list(after, REPORT_COUNT_MAX);
  return {
    replicas: reports.map(({ id, life, seen, base }) => ({
      replica: id,
      life,
      ...(seen === undefined ? {} : { record: recordJson(seen) }),
      ...(base === undefined ? {} : { base: { ...base } }),
    })),
    more: reports.length === REPORT_COUNT_MAX,
  };
}

function minimumOf({ minimum }: JsonObject): number {
  if (typeof minimum === 'number' && [1, 2, 3, 4, 5].includes(minimum)) return minimum;
  throw invalid('"minimum" is a number from 1 to 5');
}

const replicaOf = (args: JsonObject): string => volumeUuid({ uuid: args['replica'] });

function placesOf({ places = {} }: JsonObject): ReadonlyMap<string, string> {
  if (typeof places !== 'object' || places === null) throw invalid('"places" is an object');
  return new Map(
    Object.entries(places).map(([uuid, node]: [string, unknown]) => {
      if (typeof node !== 'string') throw invalid('"places" has the node of each replica');
      return [volumeUuid({ uuid }), node];
    }),
  );
}

function recordOf(args: JsonObject, name: string): Record {
  const parsed = parseRecord(JSON.stringify({ record: args[name] }));
  if (parsed === undefined) throw invalid(`"${name}" is the record of a replicated volume`);
  return parsed.record;
}

function headOf(args: JsonObject): { engine: string; start: number; attempt: number } {
  const parsed = parseRecord(JSON.stringify({ record: args['record'], head: args['head'] }));
  if (parsed?.head === undefined)
    throw invalid('"head" names an engine, its start and the attempt');
  return { ...parsed.head };
}

function outcomeOf(args: JsonObject): TransactionOutcome {
  const { kind } = args;
  if (kind === 'committed' || kind === 'unknown') return { kind };
  if (kind !== 'conflict') throw invalid('"kind" is "committed", "conflict" or "unknown"');
  const record = args['record'] === undefined ? undefined : recordOf(args, 'record');
  return { kind, record };
}

function numberOf(args: JsonObject, name: string, otherwise?: number): number {
  const value = args[name] ?? otherwise;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`"${name}" is a whole number`);
  }
  return value;
}

function textOf(args: JsonObject, name: string): string {
  const value = args[name];
  if (typeof value !== 'string') throw invalid(`"${name}" is a string`);
  return value;
}

function invalid(problem: string): Refusal {
  return new Refusal('INPUT_INVALID', { problem });
}
