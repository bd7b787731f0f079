"""What is evaluated on: files of clean images; or a dataset's items, where a degradation asks for more of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from rethaw.api import Dataset, RethawError
from rethaw.config.model import Component
from rethaw.engine.degradation.fields import Fields, asked_of
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.faults import naming
from rethaw.engine.parts import Parts
from rethaw.images import find_images, read_image
from rethaw.ops import mix_seed

PIXELS = 16 * 256 * 256  # that are restored at once


@dataclass(frozen=True)
class Example:
    """One item of a dataset, by the dataset's name."""

    data: Dataset
    index: int
    name: str

    def item(self) -> Mapping[str, Any]:
        """All of it if the dataset has `whole`, else what it gives in training, always cut alike."""
        with naming(self.name, f"giving item {self.index}"):
            if hasattr(self.data, "whole"):
                whole: Mapping[str, Any] = self.data.whole(self.index)
                return whole
            return self.data.item(self.index, Generator().manual_seed(mix_seed(0, "example", self.index)))


Subject = Path | Example


class Batch(NamedTuple):
    """Clean images of one size (B, C, H, W), what they are from, and the fields of theirs that are asked for."""

    subjects: list[Subject]
    images: Tensor
    fields: Fields


def subjects(parts: Parts, paths: Sequence[Path], skipped: list[str]) -> list[Subject]:
    """Clean images below paths: of a degradation that asks for fields, as the pipeline's dataset finds them there.

    skipped: what the dataset leaves out is added to it.
    """
    if not parts.degrading.fields:
        return list(find_images(paths))
    if parts.config.data is None:
        raise RethawError(
            f"{parts.degrading.name} asks for more than clean images, and the run does not say which data give it",
            "Name them: data={use: core.pairs, path: pairs/}.",
        )
    found: list[Subject] = []
    for item in (at(parts.config.data, path) for path in paths):
        data: Dataset = parts.build(item)
        skipped += [f"{path}: {reason}" for path, reason in getattr(data, "skipped", {}).items()]
        found += [Example(data, index, item.use) for index in range(len(data))]
    return found


def at(item: Component, path: Path) -> Component:
    """A dataset at another path. Raises RethawError where it is of no path."""
    if not hasattr(item.params, "path"):
        raise RethawError(f"{item.use} has no path, so it cannot give the images of {path}", "Use core.pairs.")
    return replace(item, params=replace(item.params, path=path))


def example_of(parts: Parts, file: Path) -> Example | None:
    """The item of the pipeline's data whose clean image is that file, where the dataset tells its `files`."""
    item = parts.config.data
    if item is None:
        return None
    data = parts.data()
    files = [Path(each).resolve() for each in getattr(data, "files", ())]
    return Example(data, files.index(file.resolve()), item.use) if file.resolve() in files else None


def batches(found: Iterable[Subject], channels: int, degradation: Hosted | None, skipped: list[str]) -> Iterator[Batch]:
    """Images in batches of one size, in order; those that cannot be read are listed and left out.

    degradation: that they go through, which may ask for fields of theirs.
    """
    held: list[tuple[Subject, Mapping[str, Any]]] = []
    for subject in found:
        try:
            item = subject.item() if isinstance(subject, Example) else {"image": read_image(subject, channels).pixels}
        except RethawError as error:
            skipped.append(error.message)
            continue
        shape = item["image"].shape
        if held and (held[0][1]["image"].shape != shape or (len(held) + 1) * shape[-2] * shape[-1] > PIXELS):
            yield batch(held, degradation)
            held = []
        held.append((subject, item))
    if held:
        yield batch(held, degradation)


def batch(held: Sequence[tuple[Subject, Mapping[str, Any]]], degradation: Hosted | None) -> Batch:
    """Items as a batch."""
    found, items = zip(*held, strict=True)
    name = found[0].name if isinstance(found[0], Example) else "a file"
    each = {key: [item[key] for item in items] for key in items[0] if all(key in item for item in items)}
    fields = asked_of(each, name, degradation.fields, degradation.name) if degradation else {}
    return Batch(list(found), torch.stack(each["image"]), fields)
