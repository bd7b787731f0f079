"""The exhibits as data, read from exhibits.yaml, and how much is put into each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

Tree = dict[str, Any]


class Plain(yaml.SafeDumper):
    """YAML in which what stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@dataclass(frozen=True)
class Exhibit:
    """One training, and what is shown of it; contestants: samplers by label, each its YAML (and `guidance`).

    most: images that are generated. condition: `field` and `template` of what a conditioner is given for a label.
    """

    name: str
    title: str
    kind: str
    shows: str
    pictures: tuple[str, ...]
    pipeline: Tree
    contestants: Mapping[str, Tree]
    judge: str = ""
    most: int = 10**6
    condition: Mapping[str, str] = field(default_factory=dict)

    def yaml(self, data: Path) -> str:
        """Its pipeline, with the folder of the images in place."""
        text: str = yaml.dump(self.pipeline, Dumper=Plain, sort_keys=False, default_flow_style=None, width=120)
        return text.replace("DATA/", f"{data}/")

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        return int(self.pipeline["data"]["size"])

    @property
    def channels(self) -> int:
        """Of its images."""
        return int(self.pipeline.get("restorer", {}).get("channels", 3))

    @property
    def held_out(self) -> str:
        """The folder of images like those of its training, which are not among them."""
        return str(self.pipeline["data"]["path"]).removeprefix("DATA/").replace("/train", "/val")


@dataclass(frozen=True)
class Effort:
    """How much is put into each exhibit: steps by this factor, images to measure on, overrides of the pipeline."""

    scale: float
    images: int
    judge_steps: int
    overrides: tuple[str, ...] = ()
    finest: bool = False  # the first level of networks that generate works on single pixels, at four times the cost

    def of(self, exhibit: Exhibit) -> list[str]:
        """The overrides of an exhibit's pipeline."""
        steps = max(1, round(self.scale * exhibit.pipeline["train"]["steps"]))
        patch = ["backbone.patch=1"] if self.finest and exhibit.kind == "generation" else []
        return [f"train.steps={steps}", *patch, *self.overrides]


def usual_effort(device: torch.device) -> Effort:
    """About two hours of two CPU cores for all; more on a GPU, in minutes."""
    if device.type == "cpu":
        return Effort(1.0, 256, 300)
    wide = ("backbone.width=64", "train.batch_size=128", "train.workers=2")
    return Effort(2.0, 1000, 1500, wide, finest=True)


@cache
def exhibits() -> dict[str, Exhibit]:
    """All of them, by name."""
    tree = yaml.safe_load(Path(__file__).with_name("exhibits.yaml").read_text("utf-8"))
    found = {}
    for row in tree["exhibits"]:
        pipeline = laid_over(tree["defaults"][row["kind"]], row["pipeline"])
        found[row["name"]] = Exhibit(**{**row, "pictures": tuple(row["pictures"]), "pipeline": pipeline})
    return found


def laid_over(below: Tree, above: Tree) -> Tree:
    """One tree over another: mappings merge, everything else is replaced."""
    merged = {k: laid_over(below[k], v) if isinstance(v, dict) and k in below else v for k, v in above.items()}
    return {**below, **merged}
