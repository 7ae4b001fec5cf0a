import { filesCompliance } from '../files-compliance.ts';
import { COMPLIANCE_MEMORY_BYTES, ioCompliance } from '../io-compliance.ts';
import { realSetups } from './trial-setup.ts';

const memoryBytes = COMPLIANCE_MEMORY_BYTES;
ioCompliance('Node', realSetups({ io: 'node', memoryBytes }));
filesCompliance('Node', realSetups({ io: 'node', memoryBytes }));
