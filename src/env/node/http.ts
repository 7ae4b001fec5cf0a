/**
 * node:http without what an `import` of it takes along: that reads every export, and one of them, a getter, loads Node's WebSocket
 * client with HTTP/2 and web streams. It costs each start of a process 60 to 90 ms of CPU.
 */

import type nodeHttp from 'node:http';
import type nodeHttps from 'node:https';

export const http: typeof nodeHttp = process.getBuiltinModule('node:http');
export const https: typeof nodeHttps = process.getBuiltinModule('node:https');
