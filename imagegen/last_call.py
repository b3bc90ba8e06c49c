"""Last call: a listening socket that takes nobody new, while those on their way still arrive.

Between a look at the queue of connections and the closing of the port somebody may get through; the
kernel then resets what nobody will answer. So connections are stopped before the port is closed:
a filter of the socket drops the packets that would open one. Their senders try again a second
later, and find the port closed, which to them is the same as coming too late.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from contextlib import suppress

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
_SYN = 0x02
_FLAGS_AT = 13  # of a TCP header, which is all that such a filter sees
# Classic BPF, linux/filter.h: code, jump if true, jump if false, operand
_DROP_SYN = (
    (0x30, 0, 0, _FLAGS_AT),  # load the byte of flags
    (0x45, 0, 1, _SYN),  # unless SYN is set, skip one
    (0x06, 0, 0, 0),  # keep nothing of the packet
    (0x06, 0, 0, 0xFFFF_FFFF),  # keep all of it
)


def last_call(listener: socket.socket) -> None:
    """From now on no connection begins. Where a kernel has no filters, nothing changes."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program)),
        )
