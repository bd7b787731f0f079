"""Captions of the images below a folder: beside each, in a table, or made from its label."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rethaw.api import RethawError
from rethaw.builtin.datasets.listing import file_name, nfc
from rethaw.builtin.datasets.tables import read_table, read_text
from rethaw.ops import Listing, ending

NAMED = 5  # images without a caption that a message names
TABLES = ("metadata.jsonl", "metadata.csv")
READ = {"sidecar": (".txt",), "metadata": (".jsonl", ".csv")}
"""The endings of the files that captions are taken from."""
HINTS = {
    "sidecar": "Write the caption of photo.png into photo.txt beside it.",
    "metadata": 'metadata.jsonl has a line {"file_name": "photo.png", "text": "…"} for each image of its folder; '
    "metadata.csv has columns of these names.",
}
LABEL_HINT = "A template takes the label from the name of the image's sub-folder: move it into one."


def captions_of(source: str, files: Listing, labels: Sequence[str | None]) -> list[str]:
    """The caption of each image. Raises RethawError that lists the images without one."""
    if source == "sidecar":
        found = sidecars(files)
    elif source == "metadata":
        found = metadata(files)
    else:
        found = [source.replace("{label}", label) if label else None for label in labels]
    missing = [files.relative(path) for path, text in zip(files.images, found, strict=True) if not text]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise RethawError(
            f"{len(missing)} of {len(found)} images have no caption: {', '.join(missing[:NAMED])}{more}",
            HINTS.get(source, LABEL_HINT),
        )
    return [text for text in found if text]


def sidecars(files: Listing) -> list[str | None]:
    """The text in NAME.txt beside each image."""
    texts = {stem(path): path for path in files.others if ending(path) == ".txt"}
    beside = [texts.get(stem(path)) for path in files.images]
    return [read_text(Path(path)).strip() if path else None for path in beside]


def stem(path: str) -> str:
    """What an image and the text beside it have in common."""
    return nfc(path.rpartition(".")[0])


def metadata(files: Listing) -> list[str | None]:
    """The caption of each image from every metadata.jsonl or .csv, which name images relative to themselves.

    The image-folder convention of Hugging Face datasets: `file_name`, and the caption as `text` or `caption`.
    """
    tables = [Path(path) for path in files.others if file_name(path).lower() in TABLES]
    if not tables:
        raise RethawError(f"there is no {' or '.join(TABLES)} below {files.root}", HINTS["metadata"])
    known = [row for table in tables for row in rows(table)]
    captions = {nfc(os.path.normpath(folder / name)): text for folder, name, text in known}
    found = [captions.get(nfc(os.path.normpath(path))) for path in files.images]
    if None in found:  # names with the backslashes of Windows, and ways through links
        ends = {nfc(os.path.realpath(folder / name.replace("\\", "/"))): text for folder, name, text in known}
        found = [text or ends.get(nfc(os.path.realpath(path))) for text, path in zip(found, files.images, strict=True)]
    return found


def rows(table: Path) -> Iterator[tuple[Path, str, str]]:
    """Folder, image and caption of each row of a table."""
    for number, row in read_table(table):
        name, text = row.get("file_name"), row.get("text", row.get("caption"))
        if not isinstance(name, str) or "\0" in name:
            kind = "a row" if table.suffix.lower() == ".csv" else "a JSON object"
            raise RethawError(f"{table}:{number} is not {kind} with a file_name", HINTS["metadata"])
        if isinstance(text, str):
            yield table.parent, name, text.strip()
