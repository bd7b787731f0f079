"""Weights in files of others: tensors and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from rethaw.api import RethawError

WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""Endings of files that hold weights."""

SAFE = "Ask for a .safetensors file, or convert it where its authors are trusted."


def read_weights(path: Path) -> dict[str, Any]:
    """What a .safetensors file or a checkpoint of torch holds, on the CPU; no code in it is ever run.

    Raises RethawError for a file that is missing or damaged, or that holds more than tensors and plain containers.
    """
    try:
        found = load_file(path) if path.suffix == ".safetensors" else checkpoint(path)
    except pickle.UnpicklingError as error:
        raise RethawError(
            f"{path} holds more than weights, and to load it would be to run code of it: it is refused", SAFE
        ) from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RethawError(f"{path} cannot be read as weights: {reason}", "Is it whole? Copy it anew.") from error
    if not isinstance(found, dict):
        raise RethawError(f"{path} holds a {type(found).__name__}, not weights by name")
    return found


def checkpoint(path: Path) -> Any:
    """What `torch.save` wrote, if that is tensors, numbers, texts and containers of them."""
    return torch.load(path, map_location="cpu", weights_only=True)
