"""Which sockets can be made here at all: prints {"families": [number], "pairs": [number], "io_uring": errno}.

`io_uring`: what its first system call says to arguments that are none (a kernel that has it: EFAULT), by
which sockets could be made that a filter of system calls does not see. Standard library only.
"""

import ctypes
import errno
import json
import socket

IO_URING_SETUP = 425
# A family has one of these kinds at least; which protocol is asked for does not matter here.
KINDS = range(1, 7)


def can_be_made(family):
    for kind in KINDS:
        try:
            socket.socket(family, kind, 0).close()
        except OSError as e:
            if e.errno == errno.EAFNOSUPPORT:
                return False
        else:
            return True
    # There, and wants a capability or a protocol.
    return True


def pair_can_be_made(family):
    descriptors = (ctypes.c_int * 2)()
    for kind in KINDS:
        if libc.socketpair(family, kind, 0, descriptors) == 0 or ctypes.get_errno() != errno.EAFNOSUPPORT:
            return True
    return False


libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(IO_URING_SETUP, 8, None)
print(json.dumps({
    "io_uring": ctypes.get_errno(),
    "families": [f for f in range(64) if can_be_made(f)],
    "pairs": [f for f in range(64) if pair_can_be_made(f)],
}))
