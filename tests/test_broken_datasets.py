"""Datasets of third parties that do not keep the contract: one message that names the dataset, before long work."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.datasets import folder
from tests.helpers import recipe

NAME = r"core\.folder"
"""What every message has in it: each of these datasets stands in the place of this one."""


class Sound:
    """Sixteen images that keep the contract. Each broken dataset changes one thing about it."""

    classes = ("a", "b")

    def __init__(self, params: Any = None) -> None:
        pass

    def __len__(self) -> int:
        return 16

    def image(self, index: int) -> Any:
        return torch.rand(3, 16, 16, generator=Generator().manual_seed(index)) * 2 - 1

    def item(self, index: int, generator: Generator) -> Any:
        return {"image": self.image(index), "path": str(index), "label": "ab"[index % 2]}


def images(make: Callable[[Tensor, int], Any]) -> type[Sound]:
    """A dataset whose images are changed."""

    class Changed(Sound):
        def image(self, index: int) -> Any:
            return make(super().image(index), index)

    return Changed


def items(make: Callable[[dict[str, Any], int], Any]) -> type[Sound]:
    """A dataset whose items are changed."""

    class Changed(Sound):
        def item(self, index: int, generator: Generator) -> Any:
            return make(super().item(index, generator), index)

    return Changed


def length(value: Any) -> type[Sound]:
    """A dataset whose length is changed; value: an exception is raised."""

    class Changed(Sound):
        def __len__(self) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

    return Changed


def throw(error: BaseException) -> Any:
    raise error


def unless(first: int, index: int, change: Callable[[], Any], otherwise: Any) -> Any:
    """The change from image `first` on, the sound value before."""
    return change() if index >= first else otherwise


class TooFew(Sound):
    def item(self, index: int, generator: Generator) -> Any:
        return super().item(index, generator) if index < 5 else throw(IndexError("list index out of range"))


BROKEN: dict[str, tuple[type[Sound], str]] = {
    "0 … 255": (images(lambda x, i: (x + 1) * 127.5), r"\[-1, 1\]"),
    "0 … 65535": (images(lambda x, i: (x + 1) * 32767.5), r"\[-1, 1\]"),
    "0 … 255, later": (images(lambda x, i: unless(9, i, lambda: (x + 1) * 127.5, x)), r"\[-1, 1\]"),
    "bytes": (images(lambda x, i: ((x + 1) * 127.5).to(torch.uint8)), "floating-point"),
    "booleans": (images(lambda x, i: x > 0), "floating-point"),
    "complex": (images(lambda x, i: x.to(torch.complex64)), "floating-point"),
    "NaN": (images(lambda x, i: x.index_fill(2, torch.tensor(3), math.nan)), "not finite|NaN"),
    "NaN, later": (images(lambda x, i: unless(9, i, lambda: x * math.nan, x)), "not finite|NaN"),
    "infinity": (images(lambda x, i: x.index_fill(1, torch.tensor(3), math.inf)), "not finite|inf"),
    "a batch": (images(lambda x, i: x[None]), r"\(C, H, W\)"),
    "one plane": (images(lambda x, i: x[0]), r"\(C, H, W\)"),
    "channels last": (images(lambda x, i: x.permute(1, 2, 0)), "channel"),
    "no pixels": (images(lambda x, i: x[:, :0]), "image"),
    "four channels": (images(lambda x, i: torch.cat([x, x[:1]])), "4-channel"),
    "an array": (images(lambda x, i: x.numpy()), "image"),
    "a list": (images(lambda x, i: x.tolist()), "image"),
    "nothing": (images(lambda x, i: None), "image"),
    "sizes differ": (images(lambda x, i: x[:, : 8 + i]), "sizes"),
    "sizes differ, later": (images(lambda x, i: unless(9, i, lambda: x[:, :8], x)), "sizes"),
    "channels differ, later": (images(lambda x, i: unless(9, i, lambda: x[:1], x)), "channel"),
    "no mapping": (items(lambda x, i: x["image"]), "item"),
    "a pair": (items(lambda x, i: (x["image"], x["label"])), "item"),
    "None": (items(lambda x, i: None), "item"),
    "None, later": (items(lambda x, i: unless(9, i, lambda: None, x)), "item"),
    "no image": (items(lambda x, i: {"path": "x"}), "image"),
    "raises": (items(lambda x, i: throw(ValueError("bad luck"))), "ValueError.*bad luck"),
    "raises, later": (items(lambda x, i: unless(9, i, lambda: throw(KeyError("bad luck")), x)), "KeyError.*bad luck"),
    "exits": (items(lambda x, i: throw(SystemExit(0))), "SystemExit"),
    "exits, later": (items(lambda x, i: unless(9, i, lambda: throw(SystemExit(3)), x)), "SystemExit"),
    "too few": (TooFew, "IndexError|length"),
    "no length": (length(NotImplementedError()), "NotImplementedError|length"),
    "a negative length": (length(-3), "length|ValueError|no images"),
    "no whole length": (length(2.5), "length|TypeError"),
    "empty": (length(0), "no images"),
}


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Trains through two epochs of a dataset in the place of core.folder."""

    def train(dataset: type[Sound], *overrides: str) -> Any:
        monkeypatch.setattr(folder, "Folder", dataset)
        path = recipe(tmp_path, tmp_path)
        pipeline = rethaw.Pipeline.from_yaml(path, ["train.steps=16", "train.checkpoint_every=16", *overrides])
        return pipeline.train(tmp_path / "run")

    return train


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_dataset_is_named(what: str, workers: int, trained: Any) -> None:
    dataset, reason = BROKEN[what]
    with pytest.raises(RethawError, match=NAME) as raised:
        trained(dataset, f"train.workers={workers}")
    assert re.search(reason, str(raised.value)) and "desaturate" not in str(raised.value)


SOUND: dict[str, type[Sound]] = {
    "as it should be": Sound,
    "not contiguous": images(lambda x, i: x.transpose(1, 2)),
    "expanded": images(lambda x, i: x[:1].expand(3, -1, -1)),
    "from numpy": images(lambda x, i: torch.from_numpy(np.ascontiguousarray(x.numpy()[:, ::-1]))),
    "with a gradient": images(lambda x, i: x.clone().requires_grad_()),
    "one hair outside": images(lambda x, i: x * (1 + 1e-6)),
    "bicubic overshoot": images(lambda x, i: x * 1.2),
    "more fields in some": items(lambda x, i: {**x, "caption": "x"} if i % 2 else x),
    "a mapping that is no dict": items(lambda x, i: MappingProxyType(x)),
    "one image": length(1),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_any_precision_trains(dtype: torch.dtype, trained: Any) -> None:
    assert trained(images(lambda x, i: x.to(dtype))).finished


@pytest.mark.parametrize("what", SOUND)
def test_datasets_that_keep_the_contract_in_their_own_way_train(what: str, trained: Any) -> None:
    assert trained(SOUND[what]).finished
