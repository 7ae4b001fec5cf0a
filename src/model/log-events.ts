/**
 * The catalogue of what logs and events tell: one id for each kind of message, with its level and what it means. Programs look for ids;
 * nothing depends on the words. `docs/events.md` is generated from it.
 */

export type LogLevel = 'info' | 'warning' | 'error';

type Row = { readonly level: LogLevel; readonly message: string };

const info = (message: string): Row => ({ level: 'info', message });
const warning = (message: string): Row => ({ level: 'warning', message });
const error = (message: string): Row => ({ level: 'error', message });

export const LOG_EVENTS = {
  'process.bug': error('A bug ended the process'),
  'process.usage': error('The process was started with wrong flags'),
  'process.guard': warning('A guard of the process could not be set'),
  'process.ending': info('The process was asked to end'),
  'process.started': info('The supervisor started a process'),
  'process.exited': warning('A process ended by itself, and is started again'),
  'log.left_out': warning('Lines of one kind came too fast, and some were left out'),

  'engine.ready': info('The engine serves'),
  'engine.ended': info('The engine has ended in order'),
  'engine.away': warning('The engine does not answer: I/O waits'),
  'engine.back': info('The engine answers again'),
  'engine.restarted': warning('Another engine process serves'),
  'engine.accept_failed': warning('A connection to the engine could not be taken'),
  'engine.connection_ended': warning('A connection to the engine broke off'),
  'engine.call_failed': error('A call to the engine failed'),

  'drive.formatted': info('A drive was formatted'),
  'drive.opened': info('A drive was opened'),
  'drive.file_left': warning('A drive was removed, and the file that Holdfast made for it is left'),
  'drive.adopted': info('A node took over a drive that another one had'),
  'drive.closed': info('A drive was closed'),
  'drive.not_opened': error('A drive could not be opened'),
  'drive.faulted': error('A drive takes no more changes'),
  'drive.recovered': info('A drive is open again'),
  'drive.full': warning('A drive has no room for what is new'),
  'drive.filling': warning('A drive is as full as its operator wants to hear of'),
  'drive.room': info('A drive has room again'),
  'drive.checksum_error': error('Bytes of a drive are not those that were written'),
  'drive.read_error': error('A drive refused reads'),

  'replica.not_opened': error('What a drive keeps of a replica cannot be read'),
  'head.event': info(
    'Something happened to the head of a replicated volume, or to a replica that it talks to',
  ),

  'peer.listening': info('Engines of other nodes can connect'),
  'peer.not_listening': error('Engines of other nodes cannot connect'),
  'peer.refused': warning('Somebody, or a call, was refused where engines of other nodes connect'),
  'peer.not_reached': warning(
    'The engine of another node is not reached, or refuses what a head needs',
  ),
  'peer.connection_ended': info('A connection between a head and a replica on another node ended'),

  'volume.served': info('A volume is served'),
  'volume.detached': info('A volume is no longer served'),
  'volume.not_served': error('A volume that is attached could not be served'),
  'volume.flush_failed': error('The last flush of a volume failed'),
  'trash.held': warning('The clock was set forward, and nothing is purged early for that'),
  'volume.grown': info('A volume grew by itself'),
  'volume.not_grown': warning('A volume is nearly full and cannot grow'),
  'volume.unmounted_unclean': warning('A file system had stopped writing before it was unmounted'),
  'volume.restored': info('A volume that could not be mounted or attached again is, at last'),
  'volume.set_restored': warning('Records that had been lost were put back from a replica'),
  'volume.repaired': warning('Copies of a volume were bad, and were repaired from others'),
  'volume.loss_accepted': warning('A volume is served from one replica, whatever that lacks'),
  'replica.stray': warning('A drive holds a replica of which the records know nothing'),
  'replica.lost': error('A drive no longer holds a replica'),
  'volume.head_ended': warning('A node no longer serves a volume'),
  'volume.reattached': warning('A volume had lost its block device, and has it again'),

  'attacher.ready': info('The attacher serves'),
  'attacher.ended': info('The attacher has ended in order'),
  'attacher.not_ended': error('The attacher could not end'),
  'attacher.away': warning('The attacher does not answer: nothing is attached or detached'),
  'attacher.back': info('The attacher answers again'),
  'attacher.restarted': warning('Another attacher process serves'),
  'attacher.handed_over': info('A successor serves the devices of the attacher'),
  'attacher.left_over': warning('What a dead attacher made could not be undone'),
  'attachment.serving': info('A block device reaches its engine'),
  'attachment.waiting': warning('A block device waits for its engine'),
  'attachment.ended': warning('A block device fails every request'),

  'control.ready': info('Control answers'),
  'control.waiting': warning('Control cannot open its records, and tries again until it can'),
  'control.refused': error('What control needs failed as it started, and it ended'),
  'control.ended': info('Control has ended in order'),
  'control.look_failed': warning('Control could not look how the installation is'),
  'control.space_lost': warning('Control could not look after space'),
  'control.watch_lost': warning('Control does not hear what other nodes change'),
  'join.listening': info('Machines can join the cluster here'),
  'join.not_listening': error('Machines cannot join the cluster here'),
  'join.refused': warning('Somebody who wanted to join the cluster was refused'),
  'node.joined': info('A machine became a node of the cluster'),
  'cluster.put_off': info('Something that is wanted of this node is tried again'),
  'control.usage_lost': warning('What is known of the use of volumes could not be kept'),
  'api.listening': info('The API listens on TCP'),
  'api.not_listening': error('The API cannot listen on TCP'),
  'api.token_refused': warning('Requests over TCP without the token were refused'),
  'plugin.away': warning('A volume plugin cannot listen'),
  'reconcile.failed': warning('What is wanted of a drive or volume could not be done'),
} as const satisfies Record<string, Row>;

export type LogEvent = keyof typeof LOG_EVENTS;

/** The row of `event`. */
export const logEventRow = (event: LogEvent): Row => LOG_EVENTS[event];
