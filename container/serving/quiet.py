"""What libpng and libjpeg print about a broken picture is kept out of the logs, which are JSON.

OpenCV offers no way to ask them for that. But what they print to, C's `stderr`, is a variable in
the GNU C library (its manual, "Standard Streams"). The file descriptor is left alone: what the C
library and Python say of a crash arrives.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_c = ctypes.CDLL(None)
_c.fopen.restype = ctypes.c_void_p
_stderr = ctypes.c_void_p.in_dll(_c, "stderr")
_LOUD, _NOWHERE = _stderr.value, _c.fopen(b"/dev/null", b"w")


@contextmanager
def libraries_are_quiet() -> Iterator[None]:
    """Of two threads at once the one that ends later may be heard; none stays unheard."""
    _stderr.value = _NOWHERE
    try:
        yield
    finally:
        _stderr.value = _LOUD
