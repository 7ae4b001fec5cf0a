import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Refusal } from '../model/errors.ts';
import { formatTcpAddress } from '../env/tcp-address.ts';
import { parseApiAddress } from './api-address.ts';

test('loopback addresses with a port are taken', () => {
  for (const text of ['127.0.0.1:7070', '127.9.9.9:1', '[::1]:65535', '127.0.0.1:0']) {
    assert.equal(formatTcpAddress(parseApiAddress(text)), text);
  }
});

test('what others can reach, and what is no address, is refused by its name', () => {
  for (const [text, says] of [
    ['0.0.0.0:7070', /"0\.0\.0\.0" can be reached from elsewhere, and there is no TLS yet/],
    ['[::]:7070', /"::" can be reached/],
    ['192.168.1.5:7070', /"192\.168\.1\.5" can be reached/],
    ['[::ffff:10.0.0.1]:7070', /can be reached/],
    ['128.0.0.1:7070', /can be reached/],
    ['localhost:7070', /no IP address with a port/],
    ['127.0.0.1', /no IP address/],
    ['127.0.0.1:', /no IP address/],
    ['127.0.0.1:65536', /no IP address/],
    ['::1:7070', /no IP address/],
    [':7070', /no IP address/],
    ['', /no IP address/],
  ] as const) {
    assert.throws(
      () => parseApiAddress(text),
      (error) =>
        error instanceof Refusal && error.code === 'ADDRESS_REFUSED' && says.test(error.message),
      text,
    );
  }
});
