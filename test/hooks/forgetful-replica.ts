/** Replicas on the node HOLDFAST_TEST_FORGETFUL answer one write in ten as taken whose bytes they drop: for the canaries of rigs. */

import process from 'node:process';
import { parseArgs } from 'node:util';

import { DriveContent } from '../../src/engine/replicas/drive-content.ts';
import { readNode } from '../../src/env/node/node-identity.ts';
import { Request } from '../../src/replication/messages.ts';

const EVERY = 10;

const { values } = parseArgs({ options: { data: { type: 'string', default: '' } }, strict: false });
let left = EVERY;

if (readNode(String(values.data))?.node === process.env['HOLDFAST_TEST_FORGETFUL']) {
  // The original is called with its own `this`, so it is taken apart here on purpose.
  // oxlint-disable-next-line typescript/unbound-method
  const { change } = DriveContent.prototype;
  DriveContent.prototype.change = function (token, request) {
    if (request.kind === 'write') left--;
    if (left > 0) {
      change.call(this, token, request);
    } else {
      left = EVERY;
      change.call(this, token, Object.assign(new Request(), request, { kind: 'trim' }));
    }
  };
}
