/**
 * Shell completion. The scripts that `holdfast completion` prints ask this program what fits, by `holdfast complete -- WORDS`, so that
 * they are never older than it. Where something is amiss, nothing fits: a shell in the middle of a line is no place for messages.
 */

import type { Command, Option } from 'commander';

import type { OperationView } from '../control/operation-schemas.ts';
import type { ApiClient } from './api-client.ts';
import { apiOf } from './context.ts';

/** A word that fits, and what it means. */
export type Candidate = readonly [word: string, meaning?: string | undefined];
/** `files`: the shell knows them. */
type Candidates = readonly Candidate[] | 'files';

/** An installation that is slower has no names to offer: the user is waiting. */
const NAMES_MS_MAX = 500;
const NAMES_MAX = 200;

/** Prints what fits as the last of `words`, the program's own name left out: a line each, with its meaning behind a tab. */
export async function printCandidates(program: Command, words: readonly string[]): Promise<void> {
  const found = await candidatesFor(program, words).catch(() => []);
  const lines =
    found === 'files'
      ? [':files']
      : found.map(([word, meaning = '']) => (meaning === '' ? word : `${word}\t${meaning}`));
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

/** What fits as the last of `words`. */
export async function candidatesFor(
  program: Command,
  words: readonly string[],
): Promise<Candidates> {
  const typed = joined(words);
  const word = typed.at(-1) ?? '';
  const place = placeOf(program, typed.slice(0, -1));
  const [, name = '', given] = /^(--[\w-]+)=(.*)$/s.exec(word) ?? [];
  if (given !== undefined) {
    const values = await valuesOf(place, place.options.get(name), given);
    // bash takes the word apart at the equals sign, and completes what is behind it.
    const isApart = words.at(-1) === '=' || words.at(-2) === '=';
    if (values === 'files' || isApart) return values;
    return values.map(([value, meaning]) => [`${name}=${value}`, meaning] as const);
  }
  if (place.pending !== undefined) return valuesOf(place, place.pending, word);
  if (word.startsWith('-')) return fitting(optionsOf(program, place), word);
  if (place.command.commands.length > 0) return fitting(commandsOf(program, place), word);
  return namesFor(place, word);
}

/** Words as they were typed, where the shell took `--name=value` apart. */
function joined(words: readonly string[]): string[] {
  const typed: string[] = [];
  for (const [index, word] of words.entries()) {
    const isBehind = words[index - 1] === '=' && typed.at(-1)?.startsWith('--') === true;
    const isSign = word === '=' && typed.at(-1)?.startsWith('--') === true;
    if (isSign || isBehind) typed.push(`${typed.pop() ?? ''}${word}`);
    else typed.push(word);
  }
  return typed;
}

/** Where in a line the next word stands. */
type Place = {
  readonly command: Command;
  /** The names of the command and those above it: `volume rm`. */
  readonly path: string;
  readonly options: ReadonlyMap<string, Option>;
  /** What was given so far, by name without dashes. */
  readonly given: ReadonlyMap<string, string>;
  /** The option whose value comes next. */
  readonly pending: Option | undefined;
  /** Arguments that there are already. */
  readonly argumentCount: number;
};

function placeOf(program: Command, words: readonly string[]): Place {
  let command = program;
  const path: string[] = [];
  const given = new Map<string, string>();
  let pending: Option | undefined;
  let argumentCount = 0;
  for (const word of words) {
    const child = command.commands.find((each) => each.name() === word);
    if (pending !== undefined) {
      given.set(pending.name(), word);
      pending = undefined;
    } else if (word.startsWith('--')) {
      const [name = '', value] = word.split('=', 2);
      const option = optionMap(command).get(name);
      if (value !== undefined) given.set(name.slice(2), value);
      else if (option?.required === true) pending = option;
    } else if (child !== undefined && argumentCount === 0) {
      command = child;
      path.push(word);
    } else argumentCount++;
  }
  const options = optionMap(command);
  return { command, path: path.join(' '), options, given, pending, argumentCount };
}

const optionMap = ({ options }: Command): ReadonlyMap<string, Option> =>
  new Map(options.flatMap((option) => (option.long == null ? [] : [[option.long, option]])));

const fitting = (all: readonly Candidate[], word: string): Candidate[] =>
  all.filter(([each]) => each.startsWith(word));

function optionsOf(program: Command, { command, given }: Place): Candidate[] {
  return program
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long != null && !given.has(long.slice(2)))
    .map(({ long, description }): Candidate => [long ?? '', description]);
}

function commandsOf(program: Command, { command }: Place): Candidate[] {
  return program
    .createHelp()
    .visibleCommands(command)
    .filter((each) => each.name() !== 'help')
    .map((each): Candidate => [each.name(), firstSentence(each.description())]);
}

const firstSentence = (text: string): string => /^.*?(?=\.(\s|$)|$)/s.exec(text)?.[0] ?? text;

/** Options whose values are names, or files. */
const OPTION_VALUES: Readonly<Record<string, 'drives' | 'volumes' | 'files'>> = {
  '--drive': 'drives',
  '--volume': 'volumes',
  '--data': 'files',
  '--path': 'files',
  '--at': 'files',
  '--token-file': 'files',
};

async function valuesOf(
  place: Place,
  option: Option | undefined,
  word: string,
): Promise<Candidates> {
  const known = OPTION_VALUES[option?.long ?? ''];
  if (known === 'files') return 'files';
  if (known !== undefined) return names(place, known, word);
  const choices = option?.long === '--output' ? ['text', 'json'] : (option?.argChoices ?? []);
  return fitting(
    choices.map((choice) => [choice] as const),
    word,
  );
}

/** Commands whose first argument is a name that there is not yet. */
const NEW_NAMES: readonly string[] = ['volume create', 'drive add'];

type Kind = 'volumes' | 'drives' | 'nodes' | 'operations' | 'trash';
const KIND_OF_GROUP: Readonly<Record<string, Kind>> = {
  volume: 'volumes',
  drive: 'drives',
  node: 'nodes',
  'what-if': 'nodes',
  operation: 'operations',
  trash: 'trash',
};

async function namesFor(place: Place, word: string): Promise<Candidates> {
  const { command, path, argumentCount } = place;
  const last = command.registeredArguments.at(-1);
  const argument =
    command.registeredArguments[argumentCount] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined || NEW_NAMES.includes(path)) return [];
  if (argument.argChoices !== undefined) {
    return fitting(
      argument.argChoices.map((choice) => [choice] as const),
      word,
    );
  }
  const group = path.split(' ').findLast((each) => Object.hasOwn(KIND_OF_GROUP, each));
  const kind = KIND_OF_GROUP[group ?? ''];
  if (kind === undefined || !/^(name|names|id|name-or-path)$/.test(argument.name())) return [];
  const found = await names(place, kind, word);
  return found.length === 0 && argument.name() === 'name-or-path' ? 'files' : found;
}

/** Names of the installation that runs; none where it is down, or does not answer at once. */
async function names({ given }: Place, kind: Kind, word: string): Promise<readonly Candidate[]> {
  const api = apiOf({
    data: given.get('data'),
    api: given.get('api'),
    tokenFile: given.get('token-file'),
  });
  const late = new Promise<readonly Candidate[]>((resolve) => {
    setTimeout(() => resolve([]), NAMES_MS_MAX).unref();
  });
  const found = read(api, kind, word).catch((): readonly Candidate[] => []);
  return fitting(await Promise.race([found, late]), word);
}

async function read(api: ApiClient, kind: Kind, word: string): Promise<readonly Candidate[]> {
  if (kind === 'operations') {
    const running = await api.get<OperationView[]>('/v1/operations?state=running');
    return [
      ...running.map((each): Candidate => [each.id, `${each.kind} of ${each.target}`]),
      ['last', 'the newest'],
    ];
  }
  const query = kind === 'volumes' ? `?limit=${NAMES_MAX}${after(word)}` : '';
  const found = await api.get<{ name: string; state?: string }[]>(`/v1/${kind}${query}`);
  return found.map(({ name, state }) => [name, state]);
}

/** Lists are in order of name: those that begin with `word` come after whatever sorts just before it. */
function after(word: string): string {
  if (word === '') return '';
  const before = word.slice(0, -1) + String.fromCharCode(word.charCodeAt(word.length - 1) - 1);
  // A tilde is behind all that names have.
  return `&after=${encodeURIComponent(`${before}~`)}`;
}
