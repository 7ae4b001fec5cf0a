import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';

import { openCipher } from './cipher.ts';

const PAGES = 8;
const KEY = new Uint8Array(crypto.randomBytes(32));

for (const by of ['evp', 'node'] as const) {
  test(`${by}: what is sealed is opened by the other, in place, at many lengths`, () => {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
    const bytes = new Uint8Array(memory.buffer);
    const sealing = openCipher(memory, { by });
    const opening = openCipher(memory, { by: by === 'evp' ? 'node' : 'evp' });
    assert.equal(sealing.kind, by);
    const [seals, opens] = [sealing.aead(KEY), opening.aead(KEY)];
    for (const [number, lengthBytes] of [1, 64, 4096 + 64, 262_144].entries()) {
      const clear = new Uint8Array(crypto.randomBytes(lengthBytes));
      bytes.set(clear, 1000);
      seals.seal(number, 0, 16, 1000, lengthBytes);
      // One byte in 256 stays what it is.
      if (lengthBytes > 1) assert.notDeepEqual(bytes.subarray(1000, 1000 + lengthBytes), clear);
      assert.equal(opens.open(number, 0, 16, 1000, lengthBytes), true);
      assert.deepEqual(bytes.slice(1000, 1000 + lengthBytes), clear);
    }
    seals.close();
    opens.close();
  });

  test(`${by}: a changed byte, tag, clear byte, number or key does not open`, () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const bytes = new Uint8Array(memory.buffer);
    const cipher = openCipher(memory, { by });
    const aead = cipher.aead(KEY);
    const opensAfter = (change: () => void, number = 7): boolean => {
      bytes.fill(0);
      aead.seal(7, 0, 16, 64, 96);
      change();
      return aead.open(number, 0, 16, 64, 96);
    };
    assert.equal(
      opensAfter(() => {}),
      true,
    );
    for (const at of [0, 15, 16, 31, 64, 159]) {
      assert.equal(
        opensAfter(() => (bytes[at]! ^= 1)),
        false,
      );
    }
    assert.equal(
      opensAfter(() => {}, 8),
      false,
    );
    assert.equal(
      opensAfter(() => {}, 7 + 2 ** 32),
      false,
    );
    bytes.fill(0);
    cipher.aead(new Uint8Array(32)).seal(7, 0, 16, 64, 96);
    assert.equal(aead.open(7, 0, 16, 64, 96), false);
  });
}

test('ranges outside the arena never reach OpenSSL', () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const aead = openCipher(memory, { by: 'evp' }).aead(KEY);
  for (const [clear, tag, address, length] of [
    [65_530, 16, 64, 96],
    [0, 65_530, 64, 96],
    [0, 16, 65_530, 96],
    [0, 16, -64, 96],
    [0, 16, 64, 0],
    [0, 16, Number.NaN, 96],
  ] as const) {
    assert.throws(() => aead.seal(0, clear, tag, address, length), { name: 'Bug' });
    assert.throws(() => aead.open(0, clear, tag, address, length), { name: 'Bug' });
  }
});

test('HMAC-SHA-256 is that of RFC 4231, case 2', () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const cipher = openCipher(memory, { by: 'auto' });
  const digest = cipher.hmac(new TextEncoder().encode('Jefe'), 'what do ya want for nothing?');
  assert.equal(
    Buffer.from(digest).toString('hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
});
