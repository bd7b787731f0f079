"""The run folder: what a training leaves behind, and what a pipeline is loaded from.

    resolved.yaml         the pipeline, everything spelt out
    lock.json             versions, plugins with their sources, seed, image shape
    model.safetensors     the weights to use (averaged ones where `train.ema` is on), and the fitted prior
    classifier.safetensors  of degraded images, where `rethaw train-classifier` made one
    classifier-checkpoint.pt  all that resuming its training needs, while that is not finished
    checkpoint.pt         all that resuming needs; replaced in one step
    log.jsonl, loss.png   step, loss, rate, learning rate
    preview.png           clean, degraded and restored training images

Every file is written beside its place and renamed, so none is ever half-written.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rethaw import __version__
from rethaw.api import RethawError
from rethaw.config.dump import dump_config
from rethaw.config.model import Component, Config
from rethaw.files import replacing, write_text
from rethaw.registry import Registry

CONFIG, LOCK, MODEL, CHECKPOINT, LOG = "resolved.yaml", "lock.json", "model.safetensors", "checkpoint.pt", "log.jsonl"
CLASSIFIER, CLASSIFIER_CHECKPOINT = "classifier.safetensors", "classifier-checkpoint.pt"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file in one step."""
    with replacing(path) as file:
        file.write(save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file. Raises RethawError where it is missing or damaged."""
    if not path.is_file():
        raise RethawError(
            f"{path} is missing", "The training has not finished a checkpoint yet, or this is not a run folder."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RethawError(
            f"{path} is damaged: {error}", "Resume the training to write it again, or copy it anew."
        ) from error


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint in one step."""
    with replacing(path) as file:
        torch.save(dict(content), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint: tensors and plain data only, nothing in it can run."""
    if not path.is_file():
        raise RethawError(f"there is no checkpoint at {path}", "Start the training without --resume.")
    try:
        return cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise RethawError(
            f"the checkpoint {path} is damaged ({type(error).__name__})",
            "Delete it and train again; the weights in model.safetensors are a file of their own.",
        ) from error


def write_description(folder: Path, config: Config, registry: Registry, image_shape: tuple[int, ...]) -> None:
    """Writes resolved.yaml and lock.json."""
    write_text(folder / CONFIG, dump_config(config))
    lock = {
        "rethaw": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seed": config.seed,
        "image_shape": list(image_shape),
        "plugins": plugins_used(config, registry),
    }
    write_text(folder / LOCK, json.dumps(lock, indent=2) + "\n")


def plugins_used(config: Config, registry: Registry) -> dict[str, Any]:
    """Namespace → distribution, version and entry point of every plugin that the pipeline names."""
    namespaces = sorted({item.use.rpartition(".")[0] for item in components(config)})
    claims = {name: registry.plugins.load(name).claim for name in namespaces}
    return {
        name: {"distribution": c.distribution, "version": c.version, "module": c.module} for name, c in claims.items()
    }


def components(config: Config) -> Iterator[Component]:
    """Every component of a pipeline, nested ones too."""

    def walk(item: Component) -> Iterator[Component]:
        yield item
        for member in item.of:
            yield from walk(member)

    singles = (config.data, config.measurement, config.backbone, config.classifier, config.sampler, config.prior)
    for item in (*singles, *config.degradation, *config.conditioner, *config.metrics):
        if item:
            yield from walk(item)


def read_lock(folder: Path) -> dict[str, Any]:
    """lock.json; {} where there is none or it cannot be read."""
    try:
        return cast("dict[str, Any]", json.loads((folder / LOCK).read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def find_run(run: str | Path) -> Path:
    """A run folder by path, or by hub id (`owner/name`), which is downloaded."""
    folder = Path(run)
    if (folder / CONFIG).is_file():
        return folder
    if folder.exists() or str(run).count("/") != 1 or str(run).startswith((".", "/", "~")):
        known = sorted(str(p.parent) for p in Path("runs").glob(f"*/{CONFIG}"))
        hint = f"Runs here: {', '.join(known[:8])}." if known else "rethaw train RECIPE makes one."
        raise RethawError(f"{run} is not a run folder: it has no {CONFIG}", hint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(run), allow_patterns=["*.yaml", "*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RethawError(
            f"there is no run folder {str(run)!r} here, and the hub has none that can be fetched",
            f"{type(error).__name__}: {str(error).splitlines()[0]}",
        ) from error
