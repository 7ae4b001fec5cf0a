/** Rows of the table of errors (errors.ts): nodes of a cluster. */

import { type ErrorRow, row } from './error-row.ts';

export const NODE = {
  NODE_INVALID: row(
    500,
    'never',
    'Cannot tell which node of a cluster this is: "{file}": {problem}',
    {
      wayOut: 'docs/cluster.md has what a node keeps of itself ("One node on disk")',
    },
  ),
  NODES_UNREPORTED: row(
    503,
    'later',
    'Cannot serve volume "{volume}" yet: the records were restored from a backup, and the replicas of nodes {nodes} may know newer ones',
    {
      wayOut:
        'Start these nodes; of one that is gone for good: holdfast node lost NAME, which gives up what only its replicas knew',
    },
  ),
  VOLUME_STALLED: row(409, 'later', 'Cannot unmount volume "{volume}": {reason}', {
    wayOut:
      'Nothing of it was ended. See that the nodes of its replicas run; or holdfast down --force, which detaches it, and loses what was not flushed',
  }),
  NODE_NOT_FOUND: row(404, 'never', 'There is no node "{node}" in the cluster{hint}'),
  NODE_LIVES: row(409, 'later', 'Cannot take node "{node}" out of the cluster: it lives', {
    wayOut: 'Drain it (holdfast node drain {node}), and end it when it is empty',
  }),
  NODE_IN_USE: row(
    409,
    'later',
    'Cannot take node "{node}" out of the cluster: volumes {volumes} have replicas there, or are attached there',
    {
      wayOut:
        'What has replicas elsewhere gets new ones by itself; attach elsewhere what is attached there (holdfast volume attach NAME --force), remove the others',
    },
  ),
  DRIVE_ELSEWHERE: row(409, 'never', 'Drive "{drive}" is of node "{node}"', {
    wayOut: 'Ask that node (--node {node})',
  }),
  DRIVE_ANOTHER: row(409, 'never', 'Cannot open "{path}": it is drive {found}, not {wanted}', {
    wayOut:
      'Names of devices change: holdfast drive adopt PATH says where a drive of a cluster is; a path in /dev/disk/by-id stays',
  }),
  DRIVE_TAKEN_OVER: row(
    409,
    'never',
    'Cannot open "{path}": another node of the cluster has adopted the drive since',
    { wayOut: 'holdfast drive adopt "{path}" takes it back, once that node has it no longer' },
  ),
  DRIVE_FOREIGN: row(409, 'never', 'Cannot adopt "{path}": {problem}', {
    wayOut:
      'A drive of another cluster is brought up there. To make a new drive of it, which destroys what it holds: holdfast drive add NAME --path {path} --force',
  }),
  DRIVE_HELD: row(
    409,
    'later',
    'Cannot adopt "{path}": it is drive "{drive}", which node "{node}" has open',
    {
      wayOut:
        'End that node (holdfast down --node {node}), or take the drive out of it: holdfast drive ls then shows it as faulted, within 10 s',
    },
  ),
  DRIVE_COPY: row(
    409,
    'never',
    'Cannot adopt "{path}": it is an older copy of drive "{drive}", without what was written since',
    {
      wayOut:
        'Adopt the drive itself; of one that is lost the replicas are made anew elsewhere by themselves',
    },
  ),
  DRIVE_NOT_DRAINED: row(409, 'later', 'Cannot take drive "{drive}" out of service: {problem}', {
    wayOut:
      'Copy what its volumes hold to volumes on other drives and remove them (holdfast volume rm NAME --now), then the drive (holdfast drive rm {drive})',
  }),
  DRIVE_DRAINING: row(
    503,
    'later',
    'Drive "{by}" is not in the place of drive "{drive}" yet: {replicas} replicas have yet to leave that',
    {
      wayOut:
        'It goes on by itself: holdfast operation ls shows how far it is, holdfast drive uncordon {drive} ends it',
    },
  ),
  VOLUME_NO_PLACE: row(
    507,
    'later',
    'Cannot place the replicas of volume "{volume}", which is to have {replicas}: {problem}',
    { wayOut: 'Any of these is enough: {helps}' },
  ),
  VOLUME_ELSEWHERE: row(
    409,
    'later',
    'Cannot {action} volume "{volume}" here: node "{node}" has it',
    {
      wayOut:
        'Ask that node (--node {node}); if it is gone for good: holdfast volume attach {volume} --force',
    },
  ),
  VOLUME_SESSION_OVER: row(
    409,
    'later',
    'Cannot serve volume "{volume}" under its attachment any more: that was ended, since what its client wrote may be lost',
    { wayOut: 'Detach it (holdfast volume detach {volume} --force), and attach it anew' },
  ),
  REPLICAS_INVALID: row(400, 'never', 'Cannot use {wanted}: {problem}', { exit: 2 }),
  REPLICA_NOT_MADE: row(
    503,
    'later',
    'Cannot create volume "{volume}": node "{node}" did not make its replica on drive "{drive}": {problem}',
    { wayOut: 'holdfast node ls shows which nodes answer; try again' },
  ),
  NODE_COUNTED: row(409, 'later', 'Cannot delete node "{node}": its cluster counts on it', {
    wayOut:
      'holdfast node drain {node} moves what it has, and holdfast node rm {node} takes it out once it is down',
  }),
  JOIN_TOKEN_INVALID: row(400, 'never', 'Cannot use the join token: {problem}', {
    exit: 2,
    wayOut: 'holdfast node token, on a node of the cluster, prints one',
  }),
  JOIN_REFUSED: row(403, 'never', 'Cannot let node "{node}" join: {problem}', {
    wayOut: 'holdfast node token, on a node of the cluster, prints another token',
  }),
  JOIN_LIMITED: row(
    429,
    'later',
    'Cannot let anybody join from {address}: too many false tokens came from there',
    { wayOut: 'Wait a minute' },
  ),
  JOIN_NOT_TAKEN: row(409, 'never', 'Cannot give out join tokens: {problem}', {
    wayOut: 'docs/cluster.md has who can join what ("The authority")',
  }),
  JOIN_UNREACHABLE: row(503, 'later', 'Cannot reach the cluster at {addresses}: {problem}', {
    exit: 3,
    wayOut: 'The same command again goes on where this one ended',
  }),
  ETCD_MISSING: row(409, 'never', 'Cannot run the member of etcd of this node: there is no etcd', {
    wayOut:
      'Install it, 3.4 or newer (Debian: apt install etcd-server, and systemctl disable --now etcd), so that it is on the PATH',
  }),
  NODE_EXISTS: row(409, 'never', 'Cannot let node "{node}" join: there is one of that name', {
    wayOut: 'Choose another name; one that is gone for good: holdfast node rm {node}',
  }),
  CLUSTER_INVALID: row(409, 'never', 'Cannot use the cluster of "{file}": {problem}'),
} as const satisfies Record<string, ErrorRow>;
