import assert from 'node:assert/strict';
import { test } from 'node:test';

import { portOf, socketAddressOf } from './tcp-address.ts';

function hexOf(host: string, port: number): string | undefined {
  const bytes = socketAddressOf({ host, port });
  return bytes && Buffer.from(bytes).toString('hex');
}

test('addresses are laid out as the kernel has them', () => {
  assert.equal(hexOf('127.0.0.1', 0x1f90), '02001f907f0000010000000000000000');
  const ipv6 = (address: string): string => `0a000050${'0'.repeat(8)}${address}${'0'.repeat(8)}`;
  assert.equal(hexOf('::1', 80), ipv6(`${'0'.repeat(31)}1`));
  assert.equal(hexOf('::', 80), ipv6('0'.repeat(32)));
  assert.equal(hexOf('fe80::', 80), ipv6(`fe80${'0'.repeat(28)}`));
  assert.equal(hexOf('2001:db8::a:1', 80), ipv6(`20010db8${'0'.repeat(18)}0a0001`));
  assert.equal(hexOf('1:2:3:4:5:6:7:8', 80), ipv6('00010002000300040005000600070008'));
  assert.equal(hexOf('::ffff:10.0.0.1', 80), ipv6('00000000000000000000ffff0a000001'));
  assert.equal(portOf(socketAddressOf({ host: '::1', port: 65_535 })!), 65_535);
});

test('what is no address is undefined', () => {
  for (const host of ['localhost', '1.2.3', '1.2.3.256', '::1::', 'fe80::1%eth0', '']) {
    assert.equal(hexOf(host, 80), undefined);
  }
  for (const port of [-1, 65_536, 1.5, Number.NaN]) assert.equal(hexOf('::1', port), undefined);
});
