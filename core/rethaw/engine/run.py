"""The run folder: what a training leaves behind, and what a pipeline is loaded from.

    resolved.yaml         the pipeline, everything spelt out
    lock.json             versions, plugins with their sources, seed, image shape
    model.safetensors     the weights to use (averaged ones where `train.ema` is on), and the fitted prior
    classifier.safetensors  of degraded images, where `rethaw train-classifier` made one
    checkpoint.pt         all that resuming needs; replaced in one step
    classifier-checkpoint.pt  the same of the classifier's training, while that is not finished
    log.jsonl, loss.png   step, loss, rate, learning rate
    preview.png           clean, degraded and restored training images
    tuned.yaml            the sampler and the consistency that `rethaw tune` has chosen to restore with
    tuning/               what it has measured

Every file is written beside its place and renamed, so none is ever half-written.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rethaw import __version__
from rethaw.api import RethawError
from rethaw.config import load_config
from rethaw.config.dump import component_tree, dump_config, dump_tree, plain
from rethaw.config.find import nearest_runs
from rethaw.config.model import Config
from rethaw.files import expanded, only_one, replacing, shown, write_text
from rethaw.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, LOCK, MODEL, CHECKPOINT, LOG = "resolved.yaml", "lock.json", "model.safetensors", "checkpoint.pt", "log.jsonl"
CLASSIFIER, CLASSIFIER_CHECKPOINT = "classifier.safetensors", "classifier-checkpoint.pt"
TUNED, TUNING = "tuned.yaml", "tuning"
OWN = (CONFIG, LOCK, MODEL, CHECKPOINT, LOG, CLASSIFIER, CLASSIFIER_CHECKPOINT, TUNED, "loss.png", "preview.png")


@dataclass(frozen=True)
class Run:
    """A run folder; every file in it is named, read and written here."""

    folder: Path

    def path(self, name: str) -> Path:
        """One of the run's files."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self.path(name).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for one training, all that is written included; a second one is refused.

        A folder in which nothing was left is removed again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with only_one(self.folder):
                yield
        finally:
            with suppress(OSError):
                self.folder.rmdir()

    def check_free(self, resume: bool) -> bool:
        """Whether there is a checkpoint to resume from. Raises RethawError where a training would be lost."""
        if self.has(CHECKPOINT):
            if not resume:
                raise RethawError(
                    f"{self.folder} already holds a training", "Add --resume to go on with it, or choose another --out."
                )
            return True
        if self.has(MODEL):
            raise RethawError(
                f"{self.folder} holds trained weights without a checkpoint, which a training would replace",
                "Choose another --out; to go on with those weights, copy the run with its checkpoint.pt.",
            )
        if resume and not self.has(CONFIG):
            raise RethawError(
                f"{self.folder} has no checkpoint to resume from", "Leave --resume out to start a training there."
            )
        return False

    def clear(self) -> None:
        """Removes the run's files, and no others."""
        for name in OWN:
            self.path(name).unlink(missing_ok=True)

    # --- the description -----------------------------------------------------------------------------------------

    def describe(self, config: Config, registry: Registry, image_shape: tuple[int, ...]) -> None:
        """Writes resolved.yaml and lock.json."""
        lock = {
            "rethaw": __version__,
            "torch": version("torch"),
            "python": platform.python_version(),
            "seed": config.seed,
            "image_shape": list(image_shape),
            "plugins": plugins_used(config, registry),
        }
        write_text(self.path(CONFIG), dump_config(config))
        write_text(self.path(LOCK), json.dumps(lock, indent=2) + "\n")

    def lock(self) -> dict[str, Any]:
        """lock.json; {} where there is none or it cannot be read."""
        try:
            found = json.loads(self.path(LOCK).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the training images; () where the run does not say."""
        shape = self.lock().get("image_shape")
        whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
        return tuple(shape) if whole else ()  # type: ignore[arg-type]

    def save_tuned(self, config: Config, why: str) -> None:
        """Writes tuned.yaml: resolved.yaml with the sampler and the consistency of a pipeline, and why those."""
        consistency = plain(config.consistency) if config.consistency else None
        chosen = {"extends": CONFIG, "sampler": component_tree(config.sampler), "consistency": consistency}
        write_text(self.path(TUNED), f"# rethaw tune: {shown(why)}\n{dump_tree(chosen)}")

    def config(self, overrides: Sequence[str] = (), name: str = CONFIG) -> tuple[Config, Registry]:
        """Its pipeline, with overrides; the plugins of dataset and metrics need not be there until they are used."""
        return load_config(str(self.path(name)), overrides, optional=("data", "metrics"))

    def tuned(self, overrides: Sequence[str] = ()) -> Config | None:
        """The pipeline as tuned.yaml says, with overrides; None without one, or where they name a measurement."""
        if not self.has(TUNED) or any(word.startswith("measurement") for word in overrides):
            return None
        return self.config(overrides, TUNED)[0]

    def forget_tuned(self) -> bool:
        """Removes tuned.yaml; whether it was there."""
        there = self.has(TUNED)
        self.path(TUNED).unlink(missing_ok=True)
        return there

    # --- weights -------------------------------------------------------------------------------------------------

    def save_model(self, restorer: nn.Module, fitted: Mapping[str, Tensor]) -> None:
        """Writes model.safetensors: a restorer's weights and the fitted prior."""
        weights = {f"restorer.{key}": value for key, value in restorer.state_dict().items()}
        save_tensors(self.path(MODEL), weights | {f"prior.{key}": value for key, value in fitted.items()})

    def load_model(self, restorer: nn.Module) -> dict[str, Tensor]:
        """Loads the weights into a restorer; the fitted prior."""
        tensors = load_tensors(self.path(MODEL))
        weights = {k.removeprefix("restorer."): v for k, v in tensors.items() if k.startswith("restorer.")}
        load_weights(restorer, weights, self.path(MODEL), "The two must come from one training.")
        return {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}

    def save_classifier(self, network: nn.Module) -> None:
        """Writes classifier.safetensors."""
        save_tensors(self.path(CLASSIFIER), network.state_dict())

    def load_classifier(self, network: nn.Module) -> None:
        """Loads classifier.safetensors into a network."""
        path = self.path(CLASSIFIER)
        load_weights(network, load_tensors(path), path, "Train it anew: rethaw train-classifier RUN.")


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path, hint: str) -> None:
    """Loads weights into the network that they belong to."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RethawError(f"{path} does not fit the pipeline in {CONFIG}: {reason}", hint) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file in one step."""
    from safetensors.torch import save

    with replacing(path) as file:
        file.write(save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file. Raises RethawError where it is missing or damaged."""
    if not path.is_file():
        raise RethawError(
            f"{path} is missing", "The training has not finished a checkpoint yet, or this is not a run folder."
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RethawError(
            f"{path} is damaged: {error}", "Resume the training to write it again, or copy it anew."
        ) from error


def plugins_used(config: Config, registry: Registry) -> dict[str, Any]:
    """Namespace → distribution, version and entry point of every plugin that the pipeline names."""
    namespaces = sorted({item.use.rpartition(".")[0] for item in config.components()})
    claims = {name: registry.plugins.load(name).claim for name in namespaces}
    return {
        name: {"distribution": c.distribution, "version": c.version, "module": c.module} for name, c in claims.items()
    }


def find_run(run: str | Path) -> Run:
    """A run folder by path, or by hub id (`owner/name`), which is downloaded."""
    folder = expanded(Path(run))
    if (folder / CONFIG).is_file():
        return Run(folder)
    here = folder.exists() or folder.parent.is_dir() or str(run).startswith((".", "/", "~", "runs/"))
    if here or str(run).count("/") != 1:
        hint = nearest_runs(str(run)) or "rethaw train RECIPE makes one."
        raise RethawError(f"{run} is not a run folder: it has no {CONFIG}", hint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Run(Path(snapshot_download(str(run), allow_patterns=["*.yaml", "*.json", "*.safetensors"])))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RethawError(
            f"there is no run folder {str(run)!r} here, and the hub has none that can be fetched",
            f"{nearest_runs(str(run))} {type(error).__name__}: {str(error).splitlines()[0]}".lstrip(),
        ) from error
