"""How a training tells where it is, keeps a log, and stops between two steps when asked to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rethaw.files import write_text


@dataclass(frozen=True)
class Progress:
    """Told after every step: steps done and in all, loss (mean of the last logged steps), images a second."""

    step: int
    steps: int
    loss: float
    rate: float


@dataclass(frozen=True)
class Outcome:
    """How a training ended: at which step, whether that was the last, with what loss, after how many seconds."""

    step: int
    finished: bool
    loss: float
    seconds: float


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a step is never cut in two; a second signal ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class LogFile:
    """log.jsonl: a line every few steps; those past the step that a training resumes from are dropped. None: no log."""

    def __init__(self, path: Path | None, step: int) -> None:
        path = path or Path(os.devnull)
        if path != Path(os.devnull):
            kept = [row for row in read_log(path) if row["step"] <= step]
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self.path = path

    def write(self, **row: float) -> None:
        """Adds a line; the file is there again where somebody has deleted it, with its folder or without."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that are whole: those with a step and a loss."""
    rows = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int and type(row.get("loss")) in (int, float):
                rows.append(row)
    return rows
