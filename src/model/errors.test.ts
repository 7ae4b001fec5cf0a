import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { ERRORS, errorRow, Fault, isErrorCode, Refusal } from './errors.ts';

const DOC = new URL('../../docs/errors.md', import.meta.url);

/** The page, made from the table. `node --test` with HOLDFAST_REWRITE=1 writes it. */
function page(): string {
  const lines = [
    '# Errors',
    '',
    'Generated from `src/model/errors.ts` (`HOLDFAST_REWRITE=1 node --test src/model/errors.test.ts`); a test keeps it current.',
    'Exit codes of the CLI: 1 refused, 2 usage, 3 unreachable, 130 interrupted. Retry: `now` (the same request may do better at once), `later`',
    '(after what the message names changed), `never` (another request is needed). REST answers with problem details (RFC 9457)',
    'whose `code` is the first column.',
    '',
    '| code | message | way out | HTTP | exit | retry |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  for (const code of Object.keys(ERRORS)) {
    if (!isErrorCode(code)) continue;
    const row = errorRow(code);
    lines.push(
      `| ${code} | ${row.message} | ${row.wayOut ?? ''} | ${row.http} | ${row.exit} | ${row.retry} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}

test('docs/errors.md equals the table', () => {
  if (process.env['HOLDFAST_REWRITE'] === '1') writeFileSync(DOC, page());
  assert.equal(readFileSync(DOC, 'utf8'), page());
});

test('messages are sentences without a full stop, codes are OBJECT_PROBLEM', () => {
  for (const code of Object.keys(ERRORS)) {
    assert.ok(isErrorCode(code));
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
    const { message, http, wayOut } = errorRow(code);
    assert.match(message, /^[A-Z].*[^.]$/, code);
    assert.ok(http >= 400 && http < 600, code);
    if (wayOut !== undefined) assert.doesNotMatch(wayOut, /\.$/, code);
  }
});

test('a problem fills its template, keeps its details and gives the way out', () => {
  const refusal = new Refusal('VOLUME_MOUNTED', { volume: 'db', path: '/mnt/db' });
  assert.equal(refusal.message, 'Cannot detach volume "db": it is mounted at "/mnt/db"');
  assert.match(refusal.wayOut ?? '', /Unmount it first/);
  const cause = new Error('x');
  const fault = new Fault('DRIVE_IO', { drive: 'd', problem: 'EIO' }, cause);
  assert.equal(fault.cause, cause);
  assert.equal(fault.message, 'Drive "d" failed: EIO');
});
