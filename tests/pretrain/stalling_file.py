"""A file system of one file, served by this process: `stalling_file.py MOUNT_POINT FILE` shows FILE's content there.

It stands still, as a dead file server does, from when it reads something on its standard input; between two requests,
because nothing kills a process whose request is half answered. Every page is asked for by itself, when it is first
read. The protocol: include/uapi/linux/fuse.h. Wants root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import struct
import sys
from pathlib import Path

FORGET, GETATTR, OPEN, READ, RELEASE, INIT, INTERRUPT, BATCH_FORGET = 2, 3, 14, 15, 18, 26, 36, 42
IN_HEADER = struct.Struct("<IIQQIIIHH")  # bytes, request, number, node, uid, gid, pid, extensions, padding
OUT_HEADER = struct.Struct("<IiQ")  # bytes, error, number
REGULAR_FILE = 0o100444


def serve(device: int, content: bytes) -> None:
    """Answer the kernel until it unmounts, or until there is something on standard input."""
    attributes = struct.pack("<QQ44xII20x", 1, len(content), REGULAR_FILE, 1)  # node, bytes; times; mode, links; owner
    while True:
        ready, _, _ = select.select([device, sys.stdin], [], [])
        if sys.stdin in ready:
            signal.pause()
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            raise
        _, kind, number, *_ = IN_HEADER.unpack_from(request)
        arguments = request[IN_HEADER.size :]
        problem, answer = 0, b""
        if kind in (FORGET, BATCH_FORGET, INTERRUPT):  # want no answer
            continue
        if kind == INIT:  # version 7.31, no read-ahead
            answer = struct.pack("<IIIIHHIIHH28x", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0)
        elif kind == GETATTR:
            answer = struct.pack("<QII", 3600, 0, 0) + attributes
        elif kind == OPEN:
            answer = struct.pack("<QII", 0, 0, 0)
        elif kind == READ:
            _, offset, size = struct.unpack_from("<QQI", arguments)
            answer = content[offset : offset + size]
        elif kind != RELEASE:  # "flush" among them: it is not asked for again
            problem = -errno.ENOSYS
        os.write(device, OUT_HEADER.pack(OUT_HEADER.size + len(answer), problem, number) + answer)


def main(mount_point: Path, source: Path) -> None:
    content = source.read_bytes()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode={REGULAR_FILE & 0o170000:o},user_id=0,group_id=0,allow_other,max_read=4096"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"stalling", os.fsencode(mount_point), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(mount_point))
    serve(device, content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
