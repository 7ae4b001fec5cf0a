import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { LOG_EVENTS, type LogEvent, logEventRow } from './log-events.ts';

const ROOT = new URL('../../', import.meta.url);
const DOC = new URL('docs/events.md', ROOT);
const CATALOGUE = 'src/model/log-events.ts';
const EVENTS = Object.keys(LOG_EVENTS) as LogEvent[];

/** The page, made from the catalogue. `node --test` with HOLDFAST_REWRITE=1 writes it. */
function page(): string {
  const lines = [
    '# Events and log lines',
    '',
    'Generated from `src/model/log-events.ts` (`HOLDFAST_REWRITE=1 node --test src/model/log-events.test.ts`); a test keeps it current.',
    'The id is the field `event` of a log line (`DIR/log/ROLE.log`, one JSON object a line), and `kind` of what `holdfast events` and `/v1/events` tell.',
    '',
    '| id | level | meaning |',
    '| --- | --- | --- |',
    ...EVENTS.map((event) => {
      const { level, message } = logEventRow(event);
      return `| ${event} | ${level} | ${message} |`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}

/** Ids that `text` gives to a log. A template stands for all that begin, or end, with what it says. */
function idsIn(text: string): Set<LogEvent> {
  const calls = /['"]([a-z]+\.[a-z_]+)['"]|`([a-z]+\.)\$\{\w+\}`|`\$\{\w+\}(\.[a-z_]+)`/g;
  const used = new Set<LogEvent>();
  for (const [, id, prefix, suffix] of text.matchAll(calls)) {
    for (const event of EVENTS) {
      const isStart = prefix !== undefined && event.startsWith(prefix);
      if (event === id || isStart || (suffix !== undefined && event.endsWith(suffix)))
        used.add(event);
    }
  }
  return used;
}

test('docs/events.md equals the catalogue', () => {
  if (process.env['HOLDFAST_REWRITE'] === '1') writeFileSync(DOC, page());
  assert.equal(readFileSync(DOC, 'utf8'), page());
});

test('each id is of one kind of message, and somebody writes it', () => {
  const messages = EVENTS.map((event) => logEventRow(event).message);
  assert.equal(new Set(messages).size, messages.length, 'no two ids mean the same');
  for (const message of messages) assert.match(message, /^[A-Z].*[^.]$/);
  const text = readFileSync(new URL(CATALOGUE, ROOT), 'utf8');
  for (const event of EVENTS) {
    assert.match(event, /^[a-z]+\.[a-z_]+$/);
    assert.equal(text.split(`'${event}':`).length, 2, `${event} is there once`);
  }
  const sources = globSync('src/**/*.ts', { cwd: ROOT.pathname }).filter(
    (path) => path !== CATALOGUE && !path.endsWith('.test.ts'),
  );
  const used = idsIn(sources.map((path) => readFileSync(new URL(path, ROOT), 'utf8')).join('\n'));
  assert.deepEqual(
    EVENTS.filter((event) => !used.has(event)),
    [],
    'ids that nobody writes',
  );
});

test('the check finds ids in calls, and no others', () => {
  assert.deepEqual([...idsIn("log('engine.ready', {})")], ['engine.ready']);
  assert.equal(idsIn('log(`attachment.${kind}`)').size, 3);
  assert.equal(idsIn('log(`${role}.restarted`)').size, 2);
  assert.deepEqual([...idsIn('// engine.ready')], []);
});
