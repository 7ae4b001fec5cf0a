/**
 * The C functions that the io_uring maker calls, with their signatures. A wrong one corrupts memory, so each is
 * exercised by self-test.ts before any drive is opened. Pointers into the arena and the mappings travel as numbers
 * (`uintptr_t`): user-space addresses are below 2^47 and exact in a double.
 */

import { openFfi } from '../ffi.ts';

/** Numbers of system calls without a libc wrapper; the same on every architecture since 2011. */
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FAILED = 2 ** 64;
const MADV_DONTFORK = 10;

export type Mapping = { readonly address: number; readonly buffer: ArrayBuffer };

/** Every call returns what the C function returns; -1 means that {@link Syscalls.errno} has the reason. */
export type Syscalls = {
  errno(): number;
  address(buffer: ArrayBuffer): number;
  setup(entries: number, params: ArrayBuffer): number;
  /** io_uring_enter without a signal mask. The hot one. */
  enter(
    number: number,
    fd: number,
    submitCount: number,
    waitCount: number,
    flags: number,
    a: number,
    b: number,
  ): number;
  register(fd: number, opcode: number, argument: ArrayBuffer, count: number): number;
  send(fd: number, address: number, lengthBytes: number, flags: number): number;
  sendmsg(fd: number, messageAddress: number, flags: number): number;
  socket(domain: number, type: number, protocol: number): number;
  socketpair(domain: number, type: number, protocol: number, pair: Int32Array): number;
  connect(fd: number, address: Uint8Array, lengthBytes: number): number;
  bind(fd: number, address: Uint8Array, lengthBytes: number): number;
  listen(fd: number, backlog: number): number;
  setsockopt(
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    lengthBytes: number,
  ): number;
  /** The address that `fd` is bound to; `length` holds the room in `address`, then what is used. */
  getsockname(fd: number, address: Uint8Array, length: Uint32Array): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  memfdCreate(name: string, flags: number): number;
  /** Maps `lengthBytes` of the ring `fd` at `offset`. Throws when refused. */
  mapRing(fd: number, lengthBytes: number, offset: number): Mapping;
  /** Maps fresh zeroed memory. Throws when refused. */
  mapAnonymous(lengthBytes: number): Mapping;
  /** Keeps a range out of forked children, so that a fork never makes the kernel's direct I/O meet a copied page. */
  keepFromForks(address: number, lengthBytes: number): number;
  /** The epoll descriptor of Node's event loop. It becomes readable when that loop has something to do. */
  backendFd(): number;
  sizeof(type: string): number;
};

/** `enter`'s first argument. */
export const ENTER: number = SYS_IO_URING_ENTER;

type Call3 = (number: number, a: number, b: Uint8Array) => number;
type Call4 = (number: number, a: number, b: number, c: Uint8Array, d: number) => number;
type Mmap = (
  a: number,
  length: number,
  prot: number,
  flags: number,
  fd: number,
  o: number,
) => unknown;

/** Looks every function up. Throws if one is missing. */
export function openSyscalls(): Syscalls {
  const ffi = openFfi();
  const setup = ffi.func<Call3>(
    'int syscall(long number, uint32_t entries, _Inout_ uint8_t *params)',
  );
  const register = ffi.func<Call4>(
    'int syscall(long number, int fd, uint32_t opcode, _Inout_ uint8_t *argument, uint32_t count)',
  );
  const mmap = ffi.func<Mmap>(
    'void *mmap(uintptr_t address, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const madvise = ffi.func<(a: number, length: number, advice: number) => number>(
    'int madvise(uintptr_t address, size_t length, int advice)',
  );
  const defaultLoop = ffi.func<() => unknown>('void *uv_default_loop()');
  const backendFd = ffi.func<(loop: unknown) => number>('int uv_backend_fd(void *loop)');

  const map = (lengthBytes: number, flags: number, fd: number, offset: number): Mapping => {
    const pointer = mmap(0, lengthBytes, PROT_READ_WRITE, flags, fd, offset);
    const address = ffi.pointerAddress(pointer);
    if (address === 0 || address >= MAP_FAILED - 1) {
      throw new Error(`mmap of ${lengthBytes} bytes: errno ${ffi.errno()}`);
    }
    return { address, buffer: ffi.view(pointer, lengthBytes) };
  };

  return {
    errno: ffi.errno,
    address: ffi.address,
    setup: (entries, params) => setup(SYS_IO_URING_SETUP, entries, new Uint8Array(params)),
    enter: ffi.func(
      'int syscall(long number, int fd, uint32_t submit, uint32_t wait, uint32_t flags, uint64_t a, uint64_t b)',
    ),
    register: (fd, opcode, argument, count) =>
      register(SYS_IO_URING_REGISTER, fd, opcode, new Uint8Array(argument), count),
    send: ffi.func('int64_t send(int fd, uintptr_t address, size_t length, int flags)'),
    sendmsg: ffi.func('int64_t sendmsg(int fd, uintptr_t message, int flags)'),
    socket: ffi.func('int socket(int domain, int type, int protocol)'),
    socketpair: ffi.func('int socketpair(int domain, int type, int protocol, _Out_ int *pair)'),
    connect: ffi.func('int connect(int fd, const uint8_t *address, uint32_t length)'),
    bind: ffi.func('int bind(int fd, const uint8_t *address, uint32_t length)'),
    listen: ffi.func('int listen(int fd, int backlog)'),
    setsockopt: ffi.func(
      'int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)',
    ),
    getsockname: ffi.func(
      'int getsockname(int fd, _Out_ uint8_t *address, _Inout_ uint32_t *length)',
    ),
    shutdown: ffi.func('int shutdown(int fd, int how)'),
    close: ffi.func('int close(int fd)'),
    memfdCreate: ffi.func('int memfd_create(const char *name, uint32_t flags)'),
    mapRing: (fd, lengthBytes, offset) => map(lengthBytes, MAP_SHARED_POPULATE, fd, offset),
    mapAnonymous: (lengthBytes) => map(lengthBytes, MAP_PRIVATE_ANONYMOUS, -1, 0),
    keepFromForks: (address, lengthBytes) => madvise(address, lengthBytes, MADV_DONTFORK),
    backendFd: () => backendFd(defaultLoop()),
    sizeof: ffi.sizeof,
  };
}
