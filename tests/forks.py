"""The command line in a process of its own, forked from one that holds the heavy libraries: seconds less a command.

Nothing of rethaw is loaded before the fork, so that a command sees its own environment, folder and plugins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Lock

SECONDS = 300
SERVER = """
import atexit, gc, json, os, runpy, signal, sys, threading
import accelerate, huggingface_hub, matplotlib.figure, numpy, PIL.Image, pydantic, rich, torch, torchmetrics, typer
gc.collect()
gc.freeze()  # what is shared with the child is left alone
for line in sys.stdin:
    words, folder, environment, paths, seconds = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
for number, path in enumerate([os.devnull, *paths]):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
signal.alarm(seconds)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
sys.argv[1:] = words
code = 0
try:
    runpy.run_module("rethaw.cli.main", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
except BaseException:
    sys.excepthook(*sys.exc_info())
    code = 1
threading._shutdown()
atexit._run_exitfuncs()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # taking all libraries down in order costs seconds
"""


class ForkServer:
    """A process that forks itself for each command."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.lock = Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """What `python -m rethaw.cli.main WORDS` ends with in that folder."""
        assert self.process.stdin and self.process.stdout
        with self.lock, tempfile.TemporaryDirectory() as place:
            paths = [f"{place}/out", f"{place}/err"]
            request = (words, str(Path(folder).absolute()), environment, paths, SECONDS)
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            if code == -signal.SIGALRM:
                raise subprocess.TimeoutExpired(words, SECONDS)
            out, err = (Path(path).read_text("utf-8") for path in paths)
        return subprocess.CompletedProcess(words, code, out, err)


@cache
def server() -> ForkServer:
    """The one of this process; it ends with it."""
    return ForkServer({**os.environ, "OMP_NUM_THREADS": "1"})


def can_fork(environment: dict[str, str]) -> bool:
    """Whether the fork would find what a fresh process finds: not where other paths hold plugins, nor with a GPU."""
    import torch

    same = environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    return hasattr(os, "fork") and same and not torch.cuda.is_available()
