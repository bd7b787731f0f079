"""The images below a folder."""

from __future__ import annotations

import os
from functools import cached_property

from torch import Generator

from rethaw.api import Item
from rethaw.builtin.datasets.captions import READ, captions_of
from rethaw.builtin.datasets.listing import fingerprint, home, list_data, nfc, passed_over
from rethaw.builtin.datasets.params import Folder as Params
from rethaw.builtin.datasets.squares import Squares


class Folder(Squares):
    """Squares cut from every image below a folder, with labels and captions."""

    def __init__(self, params: Params) -> None:
        self.listing = list_data(home(params.path))
        left_out = self.listing.skipped | dict(passed_over(self.listing, READ.get(params.captions or "", ())))
        super().__init__(params, self.listing.images, left_out)
        places = (self.listing.relative(path).partition(os.sep) for path in self.files)
        self.labels = [nfc(folder) if below else None for folder, below, _ in places]
        self.classes = sorted({label for label in self.labels if label}) if all(self.labels) else []
        self.captions = captions_of(params.captions, self.listing, self.labels) if params.captions else []

    @cached_property
    def fingerprint(self) -> str:
        """Changes when images are added, removed, renamed or written anew, or a caption changes."""
        return fingerprint(self.listing, self.files, self.captions)

    def item(self, index: int, generator: Generator) -> Item:
        """The image of that index, or the next one that can be read."""
        at, image = self.square(index, generator)
        item: Item = {"image": image, "path": self.files[at]}
        if label := self.labels[at]:
            item["label"] = label
        if self.captions:
            item["caption"] = self.captions[at]
        return item
