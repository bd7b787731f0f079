"""Captions of the images below a folder: beside each, in metadata.jsonl, or made from its label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rethaw.api import RethawError

TOLD = 5  # images without a caption that a message names


def captions_of(source: str, root: Path, files: Sequence[Path], labels: Sequence[str | None]) -> list[str]:
    """The caption of each file. Raises RethawError that lists the images without one."""
    if source == "sidecar":
        found = [sidecar(file) for file in files]
    elif source == "metadata":
        known = metadata(root)
        found = [known.get(file.resolve()) for file in files]
    else:
        found = [source.replace("{label}", label) if label else None for label in labels]
    missing = [str(file.relative_to(root)) for file, text in zip(files, found, strict=True) if not text]
    if missing:
        more = f" and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
        raise RethawError(
            f"{len(missing)} of {len(files)} images have no caption: {', '.join(missing[:TOLD])}{more}",
            where_from(source),
        )
    return [text for text in found if text]


def where_from(source: str) -> str:
    """What would give an image its caption."""
    return {
        "sidecar": "Write the caption of photo.png into photo.txt beside it.",
        "metadata": 'metadata.jsonl has a line {"file_name": "photo.png", "text": "…"} for each image of its folder.',
    }.get(source, "A template takes the label from the name of the image's sub-folder: move it into one.")


def sidecar(file: Path) -> str | None:
    """The text in NAME.txt beside an image."""
    text = file.with_suffix(".txt")
    return text.read_text("utf-8").strip() if text.is_file() else None


def metadata(root: Path) -> dict[Path, str]:
    """Captions by image from every metadata.jsonl below a folder, which names images relative to itself.

    The image-folder convention of Hugging Face datasets: `file_name`, and the caption as `text` or `caption`.
    """
    tables = sorted(root.rglob("metadata.jsonl"))
    if not tables:
        raise RethawError(f"there is no metadata.jsonl below {root}", where_from("metadata"))
    return {path: text for table in tables for path, text in rows(table)}


def rows(table: Path) -> Iterator[tuple[Path, str]]:
    """Image and caption of each line of a metadata.jsonl."""
    for number, line in enumerate(table.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = row["file_name"], row.get("text", row.get("caption"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RethawError(
                f"{table}:{number} is not a JSON object with a file_name", where_from("metadata")
            ) from error
        if isinstance(name, str) and isinstance(text, str):
            yield (table.parent / name).resolve(), text.strip()
