"""The pages of the site that the code makes: each command, key, hook and component, degradations with their picture.

mkdocs runs it (`make docs`); nothing is written into docs/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import mkdocs_gen_files
import numpy as np
import skimage.data
import torch

from docs import generate
from rethaw import pictures
from rethaw.api import RethawError
from rethaw.cli.degrade import row

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
PYTHON = {
    "rethaw": "What people call: `rethaw.Pipeline` and its friends.",
    "rethaw.api": "What a plugin is written against: values, contracts, specs.",
    "rethaw.ops": "Tensor helpers for plugins.",
    "rethaw.testing": "The conformance kit.",
}


def sections(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(title, text) of each part of a generated page that has a heading of its own."""
    for part in re.split(r"^### ", "\n".join(lines), flags=re.M)[1:]:
        title, _, text = part.partition("\n")
        yield title, text.strip()


def file_of(title: str) -> str:
    """A file's name for a title: letters, digits, dots and dashes."""
    return re.sub(r"[^\w.]+", "-", title).strip("-").lower()


def write(path: str, title: str, text: str) -> None:
    with mkdocs_gen_files.open(f"reference/{path}", "w") as file:
        file.write(f"# {title}\n\n{text}\n")


def index(folder: str, title: str, lines: Sequence[str]) -> None:
    """A page for each part of what the code says, and one that lists them by their first sentence."""
    head = "\n".join(lines).partition("\n### ")[0].partition("\n")[2].strip()
    rows = []
    for name, text in sections(lines):
        if picture := drawn(name):
            text = f"![{name.partition('`')[2].partition('`')[0]} at five severities]({picture})\n\n{text}"
        write(f"{folder}/{file_of(name)}.md", name, text)
        first = next((line for line in text.splitlines() if line and not line.startswith(("|", "!", "No "))), "")
        rows.append(f"| [{name}]({folder}/{file_of(name)}.md) | {first} |")
    write(f"{folder}.md", title, "\n".join([head, "", "| | |", "|---|---|", *rows]))


def drawn(title: str) -> str | None:
    """The picture of a degradation, beside its page; None of anything else, or where its defaults do not draw."""
    if not title.endswith("(degradation)"):
        return None
    name = title.split("`")[1]
    try:
        images = row(name, PHOTO, list(SEVERITIES), 0)
    except RethawError:
        return None
    if not images:
        return None
    strip = pictures.strip(images, [f"t = {t:g}" for t in SEVERITIES], title=name)
    with mkdocs_gen_files.open(f"reference/components/{name}.png", "wb") as file:
        strip.save(file, "PNG")
    return f"{name}.png"


def python() -> None:
    """A page for each public module, from its docstrings."""
    rows = []
    for module, about in PYTHON.items():
        write(f"python/{module}.md", module, f"{about}\n\n::: {module}")
        rows.append(f"| [`{module}`](python/{module}.md) | {about} |")
    write("python.md", "Python", "\n".join(["| | |", "|---|---|", *rows]))


def photo() -> torch.Tensor:
    """A cat, (1, 3, 96, 96)."""
    pixels = np.ascontiguousarray(skimage.data.chelsea()[20:260, 110:350])
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(x, (96, 96), mode="bicubic", antialias=True).clamp(-1, 1)


PHOTO = photo()
index("commands", "Commands", generate.commands())
index("keys", "Keys of a pipeline", generate.keys())
index("components", "Components", generate.components())
write("hooks.md", "Hooks", "\n".join(generate.hooks()[1:]))
python()
write(
    "index.md",
    "Reference",
    "Made from the code, so it is what the code does: [commands](commands.md), [keys of a pipeline](keys.md), "
    "[hooks](hooks.md), [components](components.md), [Python](python.md).",
)
if not Path(generate.PAGE).is_file():
    raise SystemExit("docs/reference.md is missing: run python docs/generate.py")
