"""What files allow and forbid holds for root too, in a test: root may read and write everything otherwise."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import pytest

#: From <linux/capability.h>, <linux/prctl.h> and <linux/securebits.h>.
_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_GET_SECUREBITS, _SET_SECUREBITS, _NO_ROOT = 27, 28, 1


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    # Twice effective, permitted and inheritable: the lower 32 capabilities, then the upper ones.
    _fields_ = [("words", ctypes.c_uint32 * 6)]


@contextlib.contextmanager
def bound_by_files() -> Iterator[None]:
    """Let the modes of files bind this thread, and the processes that it starts, whoever runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may do everything here")
    libc, header, sets = ctypes.CDLL(None, use_errno=True), _Header(_VERSION_3, 0), _Sets()
    _done(libc.capget(ctypes.byref(header), ctypes.byref(sets)))
    before, bits = sets.words[0], libc.prctl(_GET_SECUREBITS)
    # With it, a program that root starts has no capability.
    _done(libc.prctl(_SET_SECUREBITS, bits | _NO_ROOT))
    sets.words[0] = before & ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _done(libc.capset(ctypes.byref(header), ctypes.byref(sets)))
    try:
        yield
    finally:
        sets.words[0] = before
        _done(libc.capset(ctypes.byref(header), ctypes.byref(sets)))
        _done(libc.prctl(_SET_SECUREBITS, bits))


def _done(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
