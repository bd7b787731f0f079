"""One exhibit from its YAML to its pictures and figures: trained, shown, measured; each only where it is not done."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

import rethaw
from rethaw import pictures
from rethaw.engine.training.progress import Progress
from rethaw.files import json_text, write_text
from tests.bench.gallery.exhibits import Effort, Exhibit
from tests.bench.gallery.figures import rows
from tests.bench.gallery.images import tensors
from tests.bench.gallery.judges import judges
from tests.bench.gallery.scene import Scene
from tests.bench.gallery.views import VIEWS

SAID_EVERY = 100


def make(exhibit: Exhibit, effort: Effort, data: Path, out: Path, device: torch.device) -> None:
    """Writes NAME.json, all that the page says, and NAME-VIEW.png; trains into runs/NAME."""
    pipeline, trained = train(exhibit, effort, data, out / "runs" / exhibit.name, device)
    began = time.perf_counter()
    scene = staged(exhibit, effort, pipeline, data, out, device)
    files = {}
    for view in exhibit.pictures:
        files[view] = f"{exhibit.name}-{view}.png"
        pictures.save(VIEWS[view](scene), out / files[view])
        print(f"drew {files[view]}", flush=True)
    found: dict[str, Any] = {
        "rows": rows(scene),
        "images": scene.count,
        "pictures": files,
        "judges": scene.judges and {"classes": scene.judges.classes, "accuracy": scene.judges.accuracy},
        "training": trained,
        "measuring": round(time.perf_counter() - began, 1),
        "pipeline": (out / "runs" / f"{exhibit.name}.yaml").read_text("utf-8").replace(f"{data}/", "DATA/"),
    }
    write_text(out / f"{exhibit.name}.json", json_text(found))
    print(f"{exhibit.name}: done", flush=True)


def train(
    exhibit: Exhibit, effort: Effort, data: Path, run: Path, device: torch.device
) -> tuple[rethaw.Pipeline, dict[str, Any]]:
    """The trained pipeline, and what its training took: seconds (over all its parts), steps, batch, device."""
    yaml, note = run.with_suffix(".yaml"), run / "trained.json"
    known = json.loads(note.read_text("utf-8")) if note.is_file() else {"seconds": 0.0, "finished": False}
    if not known["finished"]:
        write_text(yaml, exhibit.yaml(data))
        pipeline = rethaw.Pipeline.from_yaml(yaml, effort.of(exhibit), str(device))
        outcome = pipeline.train(run, resume=(run / "checkpoint.pt").is_file(), watch=say)
        settings = pipeline.config.train
        known = {
            "seconds": round(known["seconds"] + outcome.seconds, 1),
            "finished": outcome.finished,
            "steps": settings.steps,
            "batch": settings.batch_size,
            "weights": sum(weight.numel() for weight in pipeline.walker.restorer.parameters()),
            "device": named(device),
            "overrides": effort.of(exhibit),
        }
        write_text(note, json_text(known))
        if not outcome.finished:
            raise KeyboardInterrupt
    (run / "checkpoint.pt").unlink(missing_ok=True)
    return rethaw.Pipeline.load(run, device=str(device)), known


def staged(
    exhibit: Exhibit, effort: Effort, pipeline: rethaw.Pipeline, data: Path, out: Path, device: torch.device
) -> Scene:
    """Everything that pictures and figures are made from."""
    place, shape = data / exhibit.held_out, (effort.images, exhibit.size, exhibit.channels)
    held_out, labels = tensors(place, *shape)
    known, _ = tensors(place.with_name("train"), *shape)
    found = judges(exhibit.judge, data, out / "judges", effort.judge_steps, device) if exhibit.judge else None
    count = len(held_out) if exhibit.kind == "restoration" else min(effort.images, exhibit.most)
    scene = Scene(exhibit, pipeline, held_out.to(device), labels, known.to(device), found, count)
    if exhibit.condition and found:
        scene.wanted = [found.classes[i % len(found.classes)] for i in range(count)]
    return scene


def say(progress: Progress) -> None:
    """A line every so many steps."""
    if progress.step % SAID_EVERY == 0 or progress.step == progress.steps:
        print(
            f"step {progress.step} of {progress.steps}, loss {progress.loss:.4f}, {progress.rate:.0f} images/s",
            flush=True,
        )


def named(device: torch.device) -> str:
    """What a reader should know of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of a CPU"
