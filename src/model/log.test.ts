import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openLog } from './log.ts';

function openTestLog(isTerminal: boolean) {
  const at = { ms: Date.UTC(2026, 10, 24) };
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  return { at, lines, log: openLog('engine', { wallMs: () => at.ms, write, isTerminal }) };
}

test('a line is one JSON object with the event, its level and its message', () => {
  const { log, lines } = openTestLog(false);
  log('drive.opened', { path: '/a "b"\n' });
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^[^\n]*\n$/);
  assert.deepEqual(JSON.parse(lines[0]!), {
    at: '2026-11-24T00:00:00.000Z',
    role: 'engine',
    level: 'info',
    event: 'drive.opened',
    message: 'A drive was opened',
    path: '/a "b"\n',
  });
});

test('details cannot stand in for what the log says itself', () => {
  const { log, lines } = openTestLog(false);
  log('drive.opened', { event: 'engine.ready', level: 'error', at: 'x' });
  const { event, level, at } = JSON.parse(lines[0]!);
  assert.deepEqual([event, level, at], ['drive.opened', 'info', '2026-11-24T00:00:00.000Z']);
});

test('on a terminal a line is words', () => {
  const { log, lines } = openTestLog(true);
  log('drive.faulted', { driveId: 'd', recovery: { ms: 1 } });
  assert.equal(
    lines[0],
    '00:00:00.000 error   engine: A drive takes no more changes (drive.faulted) driveId=d recovery={"ms":1}\n',
  );
});

test('a kind that comes too fast is cut, others are not, and the rest is counted', () => {
  const { log, lines, at } = openTestLog(false);
  for (let count = 0; count < 1000; count++) log('engine.call_failed', { count });
  assert.equal(lines.length, 300);
  log('engine.ready');
  assert.equal(lines.length, 301);
  at.ms += 60_000;
  log('engine.ready');
  const [last, before] = lines.toReversed().map((line) => JSON.parse(line));
  assert.equal(last.event, 'engine.ready');
  assert.deepEqual(
    [before.event, before.of, before.count],
    ['log.left_out', 'engine.call_failed', 700],
  );
  log('engine.call_failed');
  assert.match(lines.at(-1) ?? '', /engine\.call_failed/);
});

test('a clock that is set back does not silence a kind', () => {
  const { log, lines, at } = openTestLog(false);
  for (let count = 0; count < 301; count++) log('engine.call_failed');
  at.ms -= 3_600_000;
  log('engine.call_failed', { x: 1 });
  assert.match(lines.at(-1) ?? '', /"x":1/);
});

test('no secret is written, under its name or in a text', () => {
  const { log, lines } = openTestLog(false);
  log('engine.call_failed', {
    token: 'hunter2-a',
    options: { apiKey: 'hunter2-b' },
    error:
      'GET /: Authorization: Bearer hunter2-c.d; {"password":"hunter2-e"} nbd://u:hunter2-f@h SECRET=hunter2-g',
  });
  assert.doesNotMatch(lines.join(''), /hunter2/);
  assert.match(lines.join(''), /GET \/: Authorization/);
});
