"""`make gallery`: trains small versions of everything that rethaw undoes, and writes one page of pictures with figures.

The page is OUT/index.html and OUT/README.md; OUT/runs has the trained runs. Each exhibit is made in a process of its
own: one that fails is reported on the page and stops no other. Ctrl-C saves; the same command goes on, and makes
nothing again that is done (delete OUT/NAME.json to measure anew, OUT/runs/NAME also to train anew). Two CPU cores take
about two hours for all, a GPU minutes. Everything of the pipelines can be set after the options: `train.lr=1e-3`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from rethaw.api import RethawError
from rethaw.files import json_text, write_text
from tests.bench.gallery import images, page
from tests.bench.gallery.exhibits import Effort, exhibits, usual_effort
from tests.bench.gallery.making import make


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the tars of images")
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(exhibits()), help=", ".join(exhibits()))
    parser.add_argument("--scale", type=float, help="factor of the training steps (default: 1, on a GPU 2)")
    parser.add_argument("--images", type=int, help="images to measure on (default: 256, on a GPU 1000)")
    parser.add_argument("--judge-steps", type=int, help="of the classifiers (default: 300, on a GPU 1500)")
    parser.add_argument("--jobs", type=int, help="exhibits made at the same time (default: 1, on a GPU 5)")
    parser.add_argument("--device", help="cpu, cuda, … (default: a GPU if there is one)")
    parser.add_argument("--one", choices=list(exhibits()), help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of all pipelines")
    return parser.parse_intermixed_args()


def chosen_effort(options: argparse.Namespace, device: torch.device) -> Effort:
    """What is usual on the device, but for what the options say."""
    usual = usual_effort(device)
    given = {key: getattr(options, key) for key in ("scale", "images", "judge_steps")}
    usual = replace(usual, **{key: value for key, value in given.items() if value is not None})
    return replace(usual, overrides=(*usual.overrides, *options.overrides))


class Workshop:
    """Exhibits made in processes of their own, some at a time."""

    def __init__(self, out: Path, jobs: int) -> None:
        self.out, self.jobs, self.stopped = out, jobs, False
        self.running: set[subprocess.Popen[bytes]] = set()
        threads = max(1, (os.cpu_count() or 1) // jobs)
        self.environment = {"OMP_NUM_THREADS": str(threads), **os.environ}

    def make(self, name: str) -> str:
        """Makes one, if that is not done; what to tell of it."""
        report, log = self.out / f"{name}.json", self.out / "runs" / f"{name}.log"
        if self.stopped or "rows" in page.result(self.out, name):
            return f"{name}: {'stopped' if self.stopped else 'is there'}"
        report.unlink(missing_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.bench.gallery", *sys.argv[1:], "--one", name]
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=self.environment, start_new_session=True
            )  # so that Ctrl-C reaches it once, through `stop`
            self.running.add(process)
            code = process.wait()
            self.running.discard(process)
        if code and not self.stopped and not report.exists():
            write_text(report, json_text({"error": f"its process ended with code {code}; see {log}"}))
        return f"{name}: {'done' if not code else 'stopped' if self.stopped else f'failed, see {log}'}"

    def stop(self) -> None:
        """Asks those that are being made to save and end; no other begins."""
        self.stopped = True
        for process in list(self.running):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def make_all(self, names: list[str], shown: list[str]) -> None:
        """Makes them, writing the page anew after each."""
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for done in as_completed([pool.submit(self.make, name) for name in names]):
                    print(done.result(), flush=True)
                    page.write([exhibits()[name] for name in shown], self.out)
            except KeyboardInterrupt:
                self.stop()
        page.write([exhibits()[name] for name in shown], self.out)


def make_one(name: str, options: argparse.Namespace, device: torch.device) -> int:
    """Makes an exhibit in this process; the exit status."""
    try:
        data = (options.out / "data").absolute()
        make(exhibits()[name], chosen_effort(options, device), data, options.out, device)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 130
    except Exception as error:
        said = f"{error.message} {error.hint}" if isinstance(error, RethawError) else f"{type(error).__name__}: {error}"
        write_text(options.out / f"{name}.json", json_text({"error": said}))
        raise
    return 0


def main() -> int:
    options = parsed()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if options.one:
        return make_one(options.one, options, device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        images.prepared(options.data, options.out / "data")
    except RethawError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return 2
    names = options.only or list(exhibits())
    workshop = Workshop(options.out, options.jobs or (1 if device.type == "cpu" else 5))
    workshop.make_all(names, list(exhibits()))
    print(f"look at {options.out / 'index.html'}")
    failed = [name for name in names if "rows" not in page.result(options.out, name)]
    return 130 if workshop.stopped else bool(failed)


if __name__ == "__main__":
    sys.exit(main())
