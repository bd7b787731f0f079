"""The conditioner `text.encoder`: texts to a vector, to tokens, or both, embedded once and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rethaw.api import Cond, Dataset, RethawError, Rng
from rethaw_text.models import Embedded, Model, find_model, fingerprint, width_of
from rethaw_text.plugin import Encoder as Params

KEPT = 20_000  # texts whose embeddings stay in memory


class TextEncoder:
    """A frozen language model. The null condition is zeros, so it needs no model."""

    def __init__(self, params: Params) -> None:
        self.params = params
        width = params.width or width_of(self.folder)
        self.widths = {key: width for key in ("vector", "tokens") if params.gives in (key, "both")}
        self.kept: dict[str, Embedded] = {}

    @classmethod
    def resolve(cls, params: Params, dataset: Dataset) -> Params:
        """Finds the model before training, and records its width."""
        return replace(params, width=cls(replace(params, width=None)).width_checked(params.width))

    def width_checked(self, wanted: int | None) -> int:
        """The model's width. Raises RethawError where another was asked for."""
        width = width_of(self.folder)
        if wanted not in (None, width):
            raise RethawError(
                f"{self.params.model} gives embeddings of width {width}, not {wanted}",
                "Take the model that the run was trained with, or leave width out of a new pipeline.",
            )
        return width

    @cached_property
    def folder(self) -> Path:
        """Where the model is."""
        return find_model(self.params.model, self.params.download)

    @cached_property
    def model(self) -> Model:
        """The model, loaded at the first text that is not on disk."""
        return Model(self.folder, self.params.max_tokens)

    @cached_property
    def cache(self) -> Path:
        """The folder of this model's embeddings."""
        self.width_checked(self.params.width)
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = self.params.cache or home / "rethaw" / "text"
        return root / f"{fingerprint(self.folder)}-{self.params.max_tokens}"

    def encode(self, values: Sequence[Any], device: torch.device, generator: Rng | None) -> Cond:
        found = [self.embedded(str(value), device) for value in values]
        cond: dict[str, Tensor] = {}
        if "vector" in self.widths:
            cond["vector"] = torch.stack([each.vector for each in found])
        if "tokens" in self.widths:
            cond["tokens"] = pad_sequence([each.tokens for each in found], batch_first=True)
            lengths = torch.tensor([len(each.tokens) for each in found])
            cond["tokens_mask"] = torch.arange(cond["tokens"].shape[1]) < lengths[:, None]
        return {key: value.to(device) for key, value in cond.items()}

    def null(self, like: Cond) -> Cond:
        return {key: torch.zeros_like(value) for key, value in like.items()}

    def embedded(self, text: str, device: torch.device) -> Embedded:
        """One text: from memory, from disk, or from the model, and then onto disk."""
        if text not in self.kept:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            path = self.cache / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.safetensors"
            self.kept[text] = read(path) or write(path, self.model.embed(text, device))
        return self.kept[text]


def read(path: Path) -> Embedded | None:
    """An embedding on disk; None where there is none, or a damaged one."""
    try:
        return Embedded(**load_file(path)) if path.is_file() else None
    except (SafetensorError, OSError, TypeError):
        return None


def write(path: Path, embedded: Embedded) -> Embedded:
    """Writes an embedding beside its place and renames it: none is half-written, and a full disk costs only time."""
    part = path.with_name(f".{uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in embedded._asdict().items()}, part)
        part.replace(path)
    except (OSError, SafetensorError):
        part.unlink(missing_ok=True)
    return embedded
