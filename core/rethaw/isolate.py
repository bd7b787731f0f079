"""Runs code of plugins so that nothing which it does can end the host: see `guarded`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import Any, TextIO, cast

from rethaw.api import RethawError


@contextmanager
def guarded(
    fault: Callable[[str], RethawError], what: str, passing: tuple[type[RethawError], ...] = ()
) -> Iterator[None]:
    """Runs a block of a plugin's code; whatever it raises, SystemExit included, becomes the error that `fault` makes.

    fault: makes an error from what went wrong, such as "importing it raised KeyError: 'x'".
    what: what the plugin does in the block, such as "importing it".
    passing: errors that stay as they are.

    What the plugin prints goes to standard error, so that our own output stays what it is. Ctrl-C still ends the host.
    """
    with counted_interrupts() as interrupts, lent_streams() as closed:
        try:
            yield
        except passing:
            raise
        except BaseException as error:
            if interrupts:
                raise
            raise fault(f"{what} raised {described(error)}") from error
    if closed:
        raise fault(f"{what} closed {' and '.join(dict.fromkeys(closed))}")


def described(error: BaseException) -> str:
    """An exception's type and message, even where it cannot be printed."""
    try:
        text = str(error)[:1000]
    except BaseException:
        text = "an exception that cannot be printed"
    return f"{type(error).__name__}: {text}"


def shown(value: object) -> str:
    """The repr of a plugin's object, even where that raises."""
    try:
        return repr(value)[:200]
    except BaseException:
        return f"<a {type(value).__name__} that cannot be printed>"


@contextmanager
def counted_interrupts() -> Iterator[list[int]]:
    """The SIGINT signals that come meanwhile: a KeyboardInterrupt without one was raised by the plugin itself."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield came
        return
    handler = before

    def count(number: int, frame: FrameType | None) -> Any:
        came.append(number)
        return handler(number, frame)

    signal.signal(signal.SIGINT, count)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


class Lent:
    """A stream that a plugin may write to and not close."""

    def __init__(self, stream: TextIO, name: str, closed: list[str]) -> None:
        self._stream, self._name, self._closed = stream, name, closed

    def close(self) -> None:
        self._closed.append(self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


STREAMS = {1: ("stdout", "standard output"), 2: ("stderr", "standard error")}


@contextmanager
def lent_streams() -> Iterator[list[str]]:
    """Lends standard error as both streams, and afterwards opens again what was closed; gives the names of those."""
    closed: list[str] = []
    output, error = (cast("TextIO", Lent(sys.stderr, name, closed)) for _, name in STREAMS.values())
    copies = {number: os.dup(number) for number in STREAMS if is_open(number)}
    try:
        with redirect_stdout(output), redirect_stderr(error):
            yield closed
    finally:
        for number, copy in copies.items():
            attribute, name = STREAMS[number]
            if not is_open(number):
                closed.append(name)
                os.dup2(copy, number)
            os.close(copy)
            if getattr(getattr(sys, attribute), "closed", False):
                closed.append(name)
                setattr(sys, attribute, os.fdopen(number, "w", closefd=False))


def is_open(number: int) -> bool:
    """Whether a file descriptor is open."""
    try:
        os.fstat(number)
        return True
    except OSError:
        return False
