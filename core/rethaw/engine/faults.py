"""Faults of components at run time: whatever one raises is an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rethaw.api import RethawError
from rethaw.registry import ComponentError


def fault(name: str, doing: str, error: BaseException) -> ComponentError:
    """The error for what a component, by its full name, raised."""
    try:
        text = str(error).split("\n")[0][:500]
    except BaseException:
        text = "an exception that cannot be printed"
    return ComponentError(f"{name} raised {type(error).__name__} {doing}: {text}", whose(name))


def broken(name: str, how: str) -> ComponentError:
    """The error for a component that does not keep its contract."""
    return ComponentError(f"{name} does not keep its contract: {how}", whose(name))


def whose(name: str) -> str:
    """Where to turn."""
    return f"rethaw plugins show {name} says whose it is; report it there. RETHAW_TRACEBACK=1 shows where."


@contextmanager
def naming(name: str, doing: str) -> Iterator[None]:
    """A block of a component's code, by its full name; doing: what it was at, such as "on images of 3 channels"."""
    try:
        yield
    except RethawError:
        raise
    except (Exception, SystemExit) as error:
        raise fault(name, doing, error) from error
