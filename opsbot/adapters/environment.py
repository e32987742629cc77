"""Secrets taken out of this process's environment, where children, libraries and tools would find them."""

import ctypes
import os
from collections.abc import Iterable


def forget(names: Iterable[str]) -> None:
    """Remove these variables, and blank their values where the kernel shows them (/proc/PID/environ, proc(5))."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    for name in names:
        address = libc.getenv(os.fsencode(name))
        if address:
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
        os.environ.pop(name, None)
