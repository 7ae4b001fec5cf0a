import { suite } from 'node:test';

import { filesCompliance } from '../files-compliance.ts';
import { COMPLIANCE_MEMORY_BYTES, ioCompliance } from '../io-compliance.ts';
import { realSetups, ringsProblem } from '../node/trial-setup.ts';

const memoryBytes = COMPLIANCE_MEMORY_BYTES;
suite('io_uring', { skip: ringsProblem() }, () => {
  ioCompliance('io_uring', realSetups({ io: 'io_uring', memoryBytes }));
  filesCompliance('io_uring', realSetups({ io: 'io_uring', memoryBytes }));
});
