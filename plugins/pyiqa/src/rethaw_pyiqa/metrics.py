"""The metrics: pyiqa judges each image by itself; the figure is the mean. Nothing is downloaded, no pickle is run."""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from rethaw.api import RethawError

HUB = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/"


class Judge:
    """A metric of pyiqa by its name. file: its weights, of this name, in this folder of torch's hub; url: where from.

    option: what pyiqa calls the path of the weights.
    """

    reference = False
    kind = "perception"
    higher_is_better: ClassVar[bool]
    name: ClassVar[str]
    file: ClassVar[str]
    folder: ClassVar[str] = "pyiqa"
    url: ClassVar[str] = HUB
    option: ClassVar[str] = "pretrained_model_path"

    def __init__(self, params: Any) -> None:
        if find_spec("pyiqa") is None:
            raise RethawError(
                f"pyiqa.{self.name} needs the package pyiqa, which is not installed", "Run: pip install pyiqa"
            )
        self.weights = self.found(params.weights)
        self.total, self.images = 0.0, 0

    def found(self, given: Path | None) -> Path:
        """The file of the weights. Raises RethawError that says which file to put where."""
        place = given.expanduser() if given else Path(torch.hub.get_dir()) / self.folder / self.file
        if not place.is_file():
            raise RethawError(
                f"the weights of pyiqa.{self.name} are not at {place}",
                f"Put the file from {self.url}{self.file} there, or name it: weights: FILE.",
            )
        return place

    def update(self, restored: Tensor) -> None:
        """Takes in a batch, of which channels after the third are left out."""
        colour = restored[:, :3] if restored.shape[1] >= 3 else restored[:, :1]
        network = loaded(self.name, self.option, self.weights, str(restored.device))
        with torch.no_grad():
            values = torch.as_tensor(network((colour.float().clamp(-1, 1) + 1) / 2))
        self.total += float(values.double().sum())
        self.images += len(restored)

    def compute(self) -> float:
        return self.total / self.images if self.images else float("nan")


@lru_cache(maxsize=8)
def loaded(name: str, option: str, weights: Path, device: str) -> Any:
    """The network, shared by all who name the same. Raises RethawError for a file that does not hold its weights."""
    import pyiqa

    try:
        if weights.suffix == ".pth":
            torch.load(weights, "cpu", weights_only=True)  # pyiqa would also run what a pickle holds
        with redirect_stdout(StringIO()):
            return pyiqa.create_metric(name, device=torch.device(device), **{option: str(weights)})
    except Exception as error:
        raise RethawError(
            f"{weights} does not hold the weights of pyiqa.{name}: {type(error).__name__}: {str(error)[:200]}",
            "It must be the file that pyiqa publishes; a pickle that would run code is refused.",
        ) from error


class Niqe(Judge):
    """Naturalness."""

    higher_is_better, name, file = False, "niqe", "niqe_modelparameters.mat"


class Brisque(Judge):
    """Distortion."""

    higher_is_better, name, file = False, "brisque", "brisque_svm_weights.pth"


class Musiq(Judge):
    """People's opinion."""

    higher_is_better, name, file = True, "musiq", "musiq_koniq_ckpt-e95806b9.pth"


class ClipIqa(Judge):
    """CLIP's opinion."""

    higher_is_better, name, file, option = True, "clipiqa", "RN50.pt", "backbone"
    folder = "clip"
    url = "https://openaipublic.azureedge.net/clip/models/afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/"
