"""All conditioners of a pipeline as one: fields of the data, or values that a user gives, to what a backbone takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Cond, RethawError, Rng
from rethaw.config.model import Component, Guidance
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.faults import naming
from rethaw.ops import expand, rand

Values = Mapping[str, Sequence[Any] | Tensor]
"""By field, one value an image."""


class Member(NamedTuple):
    """A conditioner with its YAML item, and the degradation that makes its image in training."""

    item: Component
    encoder: Any
    degradation: Hosted | None

    @property
    def field(self) -> str:
        """The field that it reads."""
        return str(self.item.params.field)

    def degraded(self, values: Sequence[Any] | Tensor, generator: Rng) -> Sequence[Any] | Tensor:
        """What a user would give for training items: their images degraded, or the field as it is."""
        if self.degradation is None:
            return values
        x0 = values if isinstance(values, Tensor) else torch.stack(list(values))
        return self.degradation.degrade(x0, expand(1.0, x0), self.degradation.draw(x0, generator))

    def encode(self, values: Sequence[Any] | Tensor, like: Tensor, generator: Rng | None) -> Cond:
        """Values to a condition as large as the images `like`, in their dtype."""
        with naming(self.item.use, "encoding conditions"):
            return fit(self.encoder.encode(values, like.device, generator), like)

    def null(self, like: Cond) -> Cond:
        """The condition that says nothing, in the shape of `like`; one token of it is seen, for attention needs one."""
        null = dict(self.encoder.null(like))
        if "tokens" in null:
            first = torch.arange(null["tokens"].shape[1], device=null["tokens"].device) == 0
            null["tokens_mask"] = first.expand(null["tokens"].shape[:2])
        return null

    def blank(self, like: Tensor) -> Cond:
        """The null condition for each image of `like`."""
        front = {"tokens": (1,)}
        size = {"image": tuple(like.shape[-2:])}
        return self.null(
            {
                key: like.new_zeros(len(like), *front.get(key, ()), n, *size.get(key, ()))
                for key, n in self.encoder.widths.items()
            }
        )


class Conditioners:
    """The conditioners of a pipeline; what they give is joined key by key: vectors, tokens, channels side by side."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        for member in members:
            hide_clean_image(member)
        keys = dict.fromkeys(key for m in self.members for key in m.encoder.widths)
        self.widths = {key: self.width(key) for key in keys}

    @property
    def fields(self) -> list[str]:
        """The fields that are read."""
        return [m.field for m in self.members]

    def width(self, key: str) -> int:
        """Size of a joined condition: vectors and channels add up, tokens must be of one width."""
        sizes = {m.item.id: int(m.encoder.widths[key]) for m in self.members if key in m.encoder.widths}
        if key != "tokens":
            return sum(sizes.values())
        if len(set(sizes.values())) > 1:
            raise RethawError(
                f"the conditioners give tokens of different widths: {', '.join(f'{k} {n}' for k, n in sizes.items())}",
                "Choose models of one width, or take a vector from one of them.",
            )
        return next(iter(sizes.values()))

    def encode(self, values: Values, like: Tensor, generator: Rng | None = None) -> Cond:
        """What a user gives → condition; a conditioner that gets no value is given its null."""
        check_read("condition", values, self.fields, "This pipeline has no conditioner.")
        conds = []
        for m in self.members:
            if m.field not in values and m.item.host.drop == 0:
                raise RethawError(
                    f"{m.item.use} was trained without its null condition (drop: 0), so it needs a value",
                    f"Give it: --cond {m.field}=VALUE.",
                )
            conds.append(m.encode(values[m.field], like, generator) if m.field in values else m.blank(like))
        return joined(conds)

    def pair(self, values: Values, guidance: Guidance, like: Tensor) -> tuple[Cond, Cond]:
        """The condition and what guidance goes away from: the negative values, and null where there are none.

        A conditioner that was trained without its null condition (drop: 0) keeps its value in both. Where there is
        nothing to guide by, the two are one object.
        """
        cond = self.encode(values, like)
        if guidance.scale == 1 or not (values or guidance.negative):
            return cond, cond
        kept = {m.field: values[m.field] for m in self.members if m.item.host.drop == 0 and m.field in values}
        negative = {field: [value] * len(like) for field, value in guidance.negative.items()}
        return cond, self.encode({**kept, **negative}, like)

    def of_items(self, batch: Mapping[str, Any], like: Tensor, generator: Rng, drop: bool = False) -> Cond:
        """Fields of the data's items → condition; drop: null each as often as it says, as training does."""
        conds = []
        for m in self.members:
            if m.field not in batch:
                raise RethawError(
                    f"{m.item.use} needs {m.field!r} of each image, which the data does not have", how_to_have(m.field)
                )
            cond = m.encode(m.degraded(batch[m.field], generator), like, generator)
            if drop and m.item.host.drop > 0:
                cond = select(rand(like, generator, ()) >= m.item.host.drop, cond, m.null(cond))
            conds.append(cond)
        return joined(conds)

    def of_images(self, x0: Tensor, generator: Rng) -> Values:
        """The values that clean images (B, C, H, W) have of themselves: what conditioners with `of` observe of them."""
        return {m.field: m.degraded(x0, generator) for m in self.members if m.degradation and m.field == "image"}

    def null(self, like: Tensor) -> Cond:
        """The condition that says nothing, for each image of `like`."""
        return joined([m.blank(like) for m in self.members])


def hide_clean_image(member: Member) -> None:
    """Refuses a conditioner that would show the network the clean image itself."""
    if member.field == "image" and "image" in member.encoder.widths and not member.degradation:
        raise RethawError(
            f"{member.item.use} would show the network the clean image itself",
            "Say what is observed of it, of: [{use: kornia.pixelate}], or name a `field` of the data that has it.",
        )


HOW_TO_HAVE = {
    "caption": "core.folder takes captions: sidecar, metadata, or a template such as captions: 'a photo of a {label}'.",
    "label": "core.folder takes labels from the names of sub-folders.",
}


def how_to_have(field: str) -> str:
    """How data gets a field."""
    return HOW_TO_HAVE.get(field, "The dataset's items must have it.")


def check_read(what: str, given: Iterable[str], known: Sequence[str], otherwise: str) -> None:
    """Refuses values that nothing would read."""
    unread = sorted(set(given) - set(known))
    if unread:
        close = difflib.get_close_matches(unread[0], known, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise RethawError(
            f"nothing here reads the {what} {', '.join(unread)}",
            f"{hint}There is: {', '.join(known)}." if known else otherwise,
        )


def fit(cond: Cond, like: Tensor) -> Cond:
    """A condition in the dtype of `like`, its image resized to the size of `like`, its tokens with a mask."""
    found = {key: value.to(like.dtype) if value.is_floating_point() else value for key, value in cond.items()}
    if "image" in found and found["image"].shape[-2:] != like.shape[-2:]:
        resized = F.interpolate(found["image"], like.shape[-2:], mode="bicubic", antialias=True)
        found["image"] = resized.clamp(-1, 1)
    if "tokens" in found and "tokens_mask" not in found:
        found["tokens_mask"] = found["tokens"].new_ones(found["tokens"].shape[:2], dtype=torch.bool)
    return found


def joined(conds: Sequence[Cond]) -> Cond:
    """Conditions side by side: along the features of a vector, the length of tokens, the channels of an image."""
    keys = dict.fromkeys(key for cond in conds for key in cond)
    return {key: torch.cat([cond[key] for cond in conds if key in cond], 1) for key in keys}


def select(keep: Tensor, yes: Cond, no: Cond) -> Cond:
    """Takes each image's condition from `yes` where keep (B,) is true, else from `no`."""
    return {key: torch.where(keep.view(-1, *(1,) * (yes[key].dim() - 1)), yes[key], no[key]) for key in yes}


def stacked(first: Cond, second: Cond) -> Cond:
    """Two conditions as one batch, the shorter tokens padded."""
    return {
        key: torch.cat(same_length(first[key], second[key]) if key.startswith("tokens") else (first[key], second[key]))
        for key in first
    }


def same_length(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, L, D) or their mask (B, L), zeros after the end of the shorter."""
    longest = max(first.shape[1], second.shape[1])
    padded = [torch.cat([x, x.new_zeros(len(x), longest - x.shape[1], *x.shape[2:])], 1) for x in (first, second)]
    return padded[0], padded[1]
