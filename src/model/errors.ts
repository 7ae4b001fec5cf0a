/**
 * The one table of what can go wrong for a user: code → message, retry, HTTP status, exit code, way out.
 * `docs/errors.md` is generated from it. Nothing branches on a message; codes are OBJECT_PROBLEM and never change.
 *
 * A bug is neither of the two classes here: it is `assert` (lib/assert.ts), and the process exits.
 */

import { DRIVE } from './drive-errors.ts';
import { type ErrorRow, row } from './error-row.ts';
import { NODE } from './node-errors.ts';
import { STORE } from './store-errors.ts';

/** Requests that nobody could carry out as they stand. */
const INPUT = {
  INPUT_INVALID: row(400, 'never', 'Cannot read the request: {problem}', { exit: 2 }),
  CONFIRMATION_MISSING: row(400, 'never', 'Cannot ask without a terminal: "{question}"', {
    exit: 2,
    wayOut: '--yes answers it; nothing was changed',
  }),
  CONFIRMATION_REFUSED: row(400, 'never', 'Nothing was changed'),
  LABEL_INVALID: row(400, 'never', 'Cannot use label "{label}": {problem}', { exit: 2 }),
  DURATION_INVALID: row(400, 'never', 'Cannot use duration "{duration}"', {
    exit: 2,
    wayOut: 'Write a number with a unit: 45s, 30m, 12h, 30d or 4w',
  }),
  SIZE_INVALID: row(400, 'never', 'Cannot use size "{size}": {problem}', {
    exit: 2,
    wayOut: 'Write a size such as 10GiB (2^30 bytes), 10G (the same) or 10GB (10^9 bytes)',
  }),
  NAME_INVALID: row(400, 'never', 'Cannot use name "{name}": {problem}', { exit: 2 }),
  PATH_INVALID: row(400, 'never', 'Cannot use path "{path}": {problem}', { exit: 2 }),
  ROUTE_NOT_FOUND: row(404, 'never', 'There is nothing at {method} {path}'),
  KEY_REUSED: row(
    409,
    'never',
    'Cannot reuse idempotency key "{key}": it belongs to another request',
    {
      wayOut: 'Send a fresh key with each new request',
    },
  ),
  OPERATION_UNDONE: row(500, 'later', 'Could not carry out {operation}: it was refused and undone'),
  OPERATION_INTERRUPTED: row(503, 'now', 'Could not end {operation}: control ended in it', {
    wayOut: 'Ask for it again',
  }),
  OPERATION_RUNNING: row(503, 'later', 'Still under way: {operation}', {
    wayOut:
      'GET /v1/operations/{id} tells how it goes; the same request then answers with its result',
  }),
  OPERATION_NOT_FOUND: row(404, 'never', 'There is no operation "{operation}"'),
  OPERATION_LEFT: row(503, 'later', 'Left running: {operation}', {
    exit: 130,
    wayOut: 'holdfast operation wait {id} shows it to its end, holdfast operation ls lists all',
  }),
  TOKEN_REFUSED: row(401, 'never', 'Cannot let the request in: {problem}', {
    wayOut:
      'Over TCP send "Authorization: Bearer TOKEN" (--token-file or HOLDFAST_TOKEN); holdfast token show prints it',
  }),
  ADDRESS_REFUSED: row(400, 'never', 'Cannot listen on "{address}": {problem}', { exit: 2 }),
} as const satisfies Record<string, ErrorRow>;

const VOLUME = {
  VOLUME_NOT_FOUND: row(404, 'never', 'There is no volume "{volume}"{hint}'),
  VOLUME_EXISTS: row(
    409,
    'never',
    'Cannot create volume "{volume}": there is one of that name with {difference}',
  ),
  VOLUME_ATTACHED: row(409, 'later', 'Cannot remove volume "{volume}": it is attached', {
    wayOut: 'Detach it first (holdfast volume detach NAME)',
  }),
  VOLUME_ATTACHED_OTHERWISE: row(
    409,
    'later',
    'Cannot attach volume "{volume}" {wanted}: it is attached {actual}',
    {
      wayOut: 'Detach it first (holdfast volume detach NAME)',
    },
  ),
  VOLUME_NOT_ATTACHED: row(409, 'never', 'Volume "{volume}" is not attached'),
  VOLUME_MOUNTED: row(409, 'later', 'Cannot detach volume "{volume}": it is mounted at "{path}"', {
    wayOut: 'Unmount it first (holdfast volume unmount NAME)',
  }),
  VOLUME_NOT_MOUNTED: row(409, 'later', 'Volume "{volume}" is not mounted', {
    wayOut: 'Mount it first (holdfast volume mount NAME)',
  }),
  VOLUME_MOUNTED_OTHERWISE: row(
    409,
    'later',
    'Cannot mount volume "{volume}" {wanted}: it is mounted {actual}',
    {
      wayOut: 'Unmount it first (holdfast volume unmount NAME)',
    },
  ),
  VOLUME_HELD: row(
    409,
    'later',
    'Cannot {action} volume "{volume}": containers use it (mount {holders})',
    {
      wayOut:
        'Stop these containers first. If their engine is gone for good: holdfast volume unmount {volume} --force',
    },
  ),
  VOLUME_FOREIGN: row(
    409,
    'never',
    'Cannot remove volume "{volume}" by plugin "{plugin}": it was made {maker}',
    {
      wayOut: 'holdfast volume rm {volume} removes it, with what it holds',
    },
  ),
  VOLUME_SHRINK: row(
    409,
    'never',
    'Cannot shrink volume "{volume}" to {wanted}: it has {actual}, and volumes only grow',
  ),
  VOLUME_BUSY: row(409, 'later', 'Cannot change volume "{volume}": {operation} is under way'),
  RESTORE_NAME_USED: row(
    409,
    'later',
    'Cannot restore volume "{volume}": there is another one of that name',
    {
      wayOut: 'Restore it under another name (holdfast trash restore NAME --as OTHER)',
    },
  ),
  TRASH_NOT_FOUND: row(404, 'never', 'There is no removed volume "{volume}" in the trash{hint}', {
    wayOut: 'holdfast trash ls shows what can be restored',
  }),
  VOLUME_LOST: row(410, 'never', 'Cannot use volume "{volume}": its drive no longer holds it'),
  EPOCH_STALE: row(
    409,
    'never',
    'Cannot attach volume "{volume}": epoch {epoch} is older than {current}',
  ),
  MOUNT_BUSY: row(409, 'later', 'Cannot unmount "{path}": {users}', {
    wayOut: 'End these processes, leave the directory, unmount what is in it, and try again',
  }),
  MOUNT_PRESENT: row(
    409,
    'later',
    'Cannot make a file system on volume "{volume}" by force: it is mounted at "{path}", or to be there again',
    {
      wayOut: 'Unmount it first (holdfast volume unmount NAME), then mount it with --force',
    },
  ),
  MOUNT_FOREIGN: row(409, 'never', 'Cannot make {wanted} on volume "{volume}": it holds {found}', {
    wayOut: '{way}; --force destroys it',
  }),
  MOUNT_NOT_BLANK: row(409, 'never', 'Cannot make {wanted} on volume "{volume}": it holds data', {
    wayOut:
      'Of no known kind: holdfast volume attach NAME gives it as a block device. --force destroys it',
  }),
  MOUNT_UNREADABLE: row(
    409,
    'later',
    'Cannot mount volume "{volume}": its first blocks cannot be read: {problem}',
    {
      wayOut:
        'A file system has copies of what they hold: docs/attach.md tells how to repair it (section "Repair"). --force destroys what the volume holds',
    },
  ),
  MOUNT_PATH_USED: row(409, 'never', 'Cannot mount at "{path}": {problem}'),
  MOUNT_IMPOSSIBLE: row(501, 'never', 'Cannot mount on this machine: {problem}', {
    wayOut: 'holdfast volume attach NAME --nbd works without mounting',
  }),
  MOUNT_NO_ROOM: row(
    507,
    'later',
    'Cannot mount volume "{volume}": its journal is to be written back, and its drive has {free} free: {problem}',
    {
      wayOut:
        'Nothing of it is lost: make the drive larger (holdfast drive grow {drive} --size SIZE), or remove volumes and trim other file systems, then mount it again. Do not run e2fsck or xfs_repair before',
    },
  ),
  MOUNT_FAILED: row(500, 'later', 'Cannot mount volume "{volume}": {problem}'),
  UNMOUNT_FAILED: row(500, 'later', 'Cannot unmount volume "{volume}": {problem}'),
  TRIM_FAILED: row(500, 'later', 'Cannot trim volume "{volume}": {problem}'),
  FILE_SYSTEM_STOPPED: row(
    500,
    'later',
    'Volume "{volume}" is unmounted, but its {fs} had stopped writing before: what was not synced by then is lost',
    {
      wayOut:
        'What was synced is in its journal: see to its drive "{drive}" (holdfast status), then mount the volume, which writes it back',
    },
  ),
  FILE_SYSTEM_NOT_GROWN: row(
    500,
    'later',
    'Cannot grow the file system on volume "{volume}": {problem}',
    {
      wayOut:
        'The volume itself has its size: unmount and mount it, which grows its file system too (holdfast volume unmount NAME)',
    },
  ),
} as const satisfies Record<string, ErrorRow>;

const INSTALLATION = {
  ENGINE_UNREACHABLE: row(503, 'now', 'Cannot reach the engine: {problem}', { exit: 3 }),
  ENGINE_REFUSED: row(409, 'later', 'The engine refused {call}: {problem}'),
  ATTACHER_UNREACHABLE: row(503, 'now', 'Cannot reach the attacher: {problem}', { exit: 3 }),
  ATTACHER_REFUSED: row(409, 'later', 'The attacher refused {call}: {problem}'),
  DESCRIPTORS_EXHAUSTED: row(503, 'later', 'Cannot open more: the {peer} has {problem}', {
    wayOut:
      'Nothing was changed. Detach volumes that nobody uses, or let it open more: LimitNOFILE in its unit, or ulimit -n before holdfast up',
  }),
  PROTOCOL_VERSION: row(
    501,
    'never',
    'Cannot talk to the {peer}: it speaks protocol {actual}, and {wanted} is needed',
  ),
  CONTROL_UNREACHABLE: row(503, 'now', 'Holdfast does not answer in "{dataDir}": {problem}', {
    exit: 3,
    wayOut: 'holdfast status tells more, holdfast up starts it',
  }),
  CONTROL_SILENT: row(
    503,
    'later',
    'Holdfast runs in "{dataDir}" and does not answer: {what} has been silent {silence}',
    {
      exit: 3,
      wayOut:
        'DIR/log/control.log may tell why. Volumes are served without it; after kill -9 of that process another is started',
    },
  ),
  API_UNREACHABLE: row(503, 'now', 'Holdfast does not answer at {url}: {problem}', {
    exit: 3,
    wayOut: 'holdfast up --listen 127.0.0.1:PORT starts its API there',
  }),
  INSTALLATION_RUNNING: row(
    409,
    'never',
    'Holdfast runs in "{dataDir}" already: process {pid}, since {since}',
    {
      wayOut: 'holdfast down ends it',
    },
  ),
  INSTALLATION_DOWN: row(503, 'later', 'Holdfast does not run in "{dataDir}"', {
    exit: 3,
    wayOut: 'holdfast up starts it',
  }),
  // What says so may not import this table: bootstrap/npm-packages.mjs.
  PACKAGES_MISSING: row(
    500,
    'later',
    'Not all npm packages of Holdfast are installed in "{home}"',
    {
      wayOut:
        'npm ci --ignore-scripts there installs them; npm start and npm test do it by themselves',
    },
  ),
  INSTALLATION_START: row(500, 'later', 'Cannot start: {problem}'),
  INSTALLATION_STOP: row(500, 'later', 'Cannot end Holdfast in "{dataDir}": {problem}', {
    wayOut: 'holdfast down once more, as the user who started it; DIR/log tells what it did',
  }),
  RELEASE_FAILED: row(
    503,
    'later',
    'Cannot end Holdfast in "{dataDir}": volumes are attached, and control cannot unmount them: {problem}',
    {
      wayOut:
        'DIR/log/control.log tells why. holdfast down --force ends it all the same: what was not synced is lost',
    },
  ),
  UPGRADE_REFUSED: row(409, 'later', 'Cannot upgrade Holdfast in "{dataDir}": {problem}', {
    wayOut: 'Nothing was stopped, and what is mounted goes on{way}',
  }),
  INSTALL_REFUSED: row(409, 'later', 'Cannot install Holdfast on this machine: {problem}', {
    wayOut: '{way}',
  }),
  SERVICE_FAILED: row(500, 'later', 'Cannot change the services: {call}: {problem}', {
    wayOut: 'journalctl -u "holdfast-*" has what the services say',
  }),
  INSTALLATION_FOREIGN: row(409, 'never', 'Cannot use "{path}": {problem}'),
  INSTALLATION_STOPPING: row(503, 'later', 'Holdfast is stopping', { exit: 3 }),
  PLUGIN_OPTION: row(400, 'never', 'Cannot use option "{option}": {problem}', {
    exit: 2,
    wayOut: 'Options are size, fs, drive, tenant, group and label.KEY',
  }),
  PLUGIN_SOCKET: row(409, 'later', 'Cannot serve plugin "{plugin}" at "{path}": {problem}', {
    wayOut: 'Another installation may have the name: holdfast docker enable NAME takes any other',
  }),
  PLUGIN_LIMIT: row(
    409,
    'later',
    'Cannot enable plugin "{plugin}": there are {count}, as many as there can be',
    { wayOut: 'holdfast docker disable NAME ends one' },
  ),
  DIAGNOSTICS_FAILED: row(500, 'later', 'Cannot make "{path}": {problem}', {
    wayOut: 'It needs tar, and room for what it collects in the directory for temporary files',
  }),
  INTERNAL: row(500, 'later', 'Something went wrong inside: {problem}', {
    wayOut: 'The log of control (DIR/log/control.log) has more',
  }),
} as const satisfies Record<string, ErrorRow>;

export const ERRORS: typeof INPUT &
  typeof DRIVE &
  typeof VOLUME &
  typeof INSTALLATION &
  typeof NODE &
  typeof STORE = {
  ...INPUT,
  ...DRIVE,
  ...VOLUME,
  ...INSTALLATION,
  ...NODE,
  ...STORE,
};

export type ErrorCode = keyof typeof ERRORS;
export type ErrorDetails = Readonly<Record<string, string | number>>;

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code);

/** The row of `code`, with its optional fields visible. */
export const errorRow = (code: ErrorCode): ErrorRow => ERRORS[code];

/** Fills a template's `{name}` places; a name without a detail becomes nothing. */
export function fillTemplate(template: string, details: ErrorDetails): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? ''));
}

class Problem extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    details: ErrorDetails & { readonly cause?: never } = {},
    cause?: unknown,
  ) {
    super(fillTemplate(ERRORS[code].message, details), cause === undefined ? {} : { cause });
    this.code = code;
    this.details = details;
  }

  /** What the user can do about it, if there is something. */
  get wayOut(): string | undefined {
    const template = errorRow(this.code).wayOut;
    return template === undefined ? undefined : fillTemplate(template, this.details);
  }
}

/** The request cannot be carried out, and nothing is broken. Handled at the edge: REST, CLI, NBD. */
export class Refusal extends Problem {
  override name = 'Refusal';
}

/** Something that Holdfast relies on failed. Handled by the loop that owns the resource. */
export class Fault extends Problem {
  override name = 'Fault';
}
