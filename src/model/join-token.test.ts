import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Refusal } from './errors.ts';
import { addressParts, formatJoinToken, parseJoinToken } from './join-token.ts';
import { textWithoutSecrets } from './secrets.ts';

const token = {
  cluster: '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11',
  authority: 'a'.repeat(64),
  secret: '0123456789abcdef'.repeat(4),
  addresses: ['10.0.0.1:7172', '[fd00::1]:7172'],
};

test('a token is one word, and comes back whole', () => {
  const word = formatJoinToken(token);
  assert.match(word, /^hfj1\.[\w-]+$/);
  assert.deepEqual(parseJoinToken(`${word}\n`), token);
  assert.deepEqual(token.addresses.map(addressParts), [
    { host: '10.0.0.1', port: 7172 },
    { host: 'fd00::1', port: 7172 },
  ]);
});

test('a token that was cut, or is none, is refused without being repeated', () => {
  const word = formatJoinToken(token);
  const others = [
    '',
    'hfj1.',
    word.slice(0, -4),
    word.slice(1),
    formatJoinToken({ ...token, secret: 'short' }),
    formatJoinToken({ ...token, addresses: [] }),
    formatJoinToken({ ...token, addresses: ['host:1'] }),
  ];
  for (const other of others) {
    assert.throws(
      () => parseJoinToken(other),
      (error) => {
        assert.ok(error instanceof Refusal && error.code === 'JOIN_TOKEN_INVALID');
        assert.ok(other.length < 10 || !error.message.includes(other.slice(5)));
        return true;
      },
    );
  }
});

test('a token in a text is hidden', () => {
  const text = textWithoutSecrets(
    `cannot run: holdfast node join ${formatJoinToken(token)} --name b`,
  );
  assert.equal(text, 'cannot run: holdfast node join (hidden) --name b');
});
