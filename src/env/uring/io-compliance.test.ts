import { filesCompliance } from '../files-compliance.ts';
import { COMPLIANCE_MEMORY_BYTES, ioCompliance } from '../io-compliance.ts';
import { realSetups } from '../node/trial-setup.ts';

const memoryBytes = COMPLIANCE_MEMORY_BYTES;
ioCompliance('io_uring', realSetups({ io: 'io_uring', memoryBytes }));
filesCompliance('io_uring', realSetups({ io: 'io_uring', memoryBytes }));
