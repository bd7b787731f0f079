"""One page of all exhibits, as README.md and as index.html."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rethaw.files import write_text
from tests.bench.gallery.exhibits import Exhibit
from tests.bench.gallery.figures import READ, REAL, SPREAD

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { max-width: 100%; } table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; }
td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; } td + td { text-align: right; }
pre { background: #f5f5f7; padding: .8rem; overflow-x: auto; font-size: .8rem; }
"""
INTRODUCTION = (
    "Small trainings, shown as they came out: images are the first ones, none is chosen. KID compares the features of "
    "the images, taken together, with those of held-out real images (less is better; in brackets its 95 % interval); "
    "the column names the features. The last row has the same figure of real training images, which is as good as it "
    "gets, but for chance. Two classifiers of different architectures, trained on real images, read digits; an image "
    "counts as read if both see the same in it, each with more than 90 % confidence."
)


@dataclass(frozen=True)
class Block:
    """A piece of the page: heading (of level 1 or 2), paragraph, code, picture (file in `more`) or table (rows)."""

    kind: str
    text: str = ""
    more: str = ""
    rows: tuple[tuple[str, ...], ...] = ()

    def markdown(self) -> str:
        """For README.md."""
        match self.kind:
            case "table":
                head, *rest = (f"| {' | '.join(row)} |" for row in self.rows)
                return "\n".join([head, "|---|" + "---:|" * (len(self.rows[0]) - 1), *rest])
            case "picture":
                return f"![{self.text}]({self.more})"
            case "code":
                return f"```yaml\n{self.text}```"
        return {"title": "# ", "heading": "## "}.get(self.kind, "") + self.text

    def html(self) -> str:
        """For index.html."""
        text = escape(self.text)
        match self.kind:
            case "table":
                return f"<table>{''.join(f'<tr>{cells(row)}</tr>' for row in self.rows)}</table>"
            case "picture":
                return f'<p><img src="{escape(self.more)}" alt="{text}"></p>'
            case "code":
                return f"<details><summary>The pipeline</summary><pre>{text}</pre></details>"
        tag = {"title": "h1", "heading": "h2"}.get(self.kind, "p")
        return f"<{tag}>{text}</{tag}>"


def cells(row: tuple[str, ...]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)


def write(exhibits: list[Exhibit], out: Path) -> None:
    """Writes the page of what there is so far, with the failures."""
    results = {exhibit.name: result(out, exhibit.name) for exhibit in exhibits}
    blocks = [Block("title", "The gallery"), Block("text", INTRODUCTION), overview(exhibits, results)]
    for exhibit in exhibits:
        blocks += section(exhibit, results[exhibit.name])
    write_text(out / "README.md", "\n\n".join(block.markdown() for block in blocks) + "\n")
    body = "\n".join(block.html() for block in blocks)
    head = f'<meta charset="utf-8"><title>The gallery</title><style>{STYLE}</style>'
    write_text(out / "index.html", f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n')


def result(out: Path, name: str) -> dict[str, Any]:
    """What an exhibit has found; {} if it has not been made."""
    file = out / f"{name}.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def overview(exhibits: list[Exhibit], results: dict[str, dict[str, Any]]) -> Block:
    """One row for each exhibit: training, and KID of the first contestant beside that of real images."""
    rows = [("exhibit", "training", "its first row", "KID", "KID of real images", READ)]
    for exhibit in exhibits:
        found = results[exhibit.name]
        if "rows" not in found:
            rows.append((exhibit.title, "failed" if found else "not made yet", "", "", "", ""))
            continue
        first = next(iter(exhibit.contestants))
        mine, real = found["rows"][first], found["rows"].get(REAL, {})
        rows.append((exhibit.title, effort(found), first, of(mine, "KID"), of(real, "KID"), of(mine, READ)))
    return Block("table", rows=tuple(rows))


def of(row: dict[str, Any], name: str) -> str:
    """The cell of the column whose name begins so."""
    return next((cell(column, value, False) for column, value in row.items() if column.startswith(name)), "")


def effort(found: dict[str, Any]) -> str:
    training = found["training"]
    return f"{training['steps']} × {training['batch']}, {training['seconds']:.0f} s"


def section(exhibit: Exhibit, found: dict[str, Any]) -> Iterator[Block]:
    """An exhibit's part of the page."""
    yield Block("heading", exhibit.title)
    yield Block("text", exhibit.shows)
    if not found:
        return
    if "rows" not in found:
        yield Block("text", f"It failed: {found['error']}")
        return
    for view, file in found["pictures"].items():
        yield Block("picture", f"{exhibit.title}: {view}", file)
    columns = list(dict.fromkeys(column for row in found["rows"].values() for column in row))
    table = [("", *columns)]
    for label, row in found["rows"].items():
        table.append((label, *(cell(column, row.get(column)) for column in columns)))
    yield Block("table", rows=tuple(table))
    yield Block("text", facts(found))
    yield Block("code", found["pipeline"] + "".join(f"# {each}\n" for each in found["training"]["overrides"]))


def cell(column: str, value: Any, whole: bool = True) -> str:
    """A figure as text; whole: with its interval."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        shown = [f"{v:.3f}" if v is not None else "–" for v in value]
        return f"{shown[0]} ({shown[1]} to {shown[2]})" if whole and len(shown) == 3 else shown[0]
    return f"{value:.1%}" if "read" in column or "sure" in column else f"{value:.3f}"


def facts(found: dict[str, Any]) -> str:
    """How the exhibit was made."""
    training, judges = found["training"], found["judges"]
    steps, batch, seconds = (training[key] for key in ("steps", "batch", "seconds"))
    text = (
        f"{found['images']} images. Trained {steps} steps of {batch} images in {seconds:.0f} s on {training['device']} "
        f"({training['weights'] / 1e6:.2f} M weights); pictures and figures took {found['measuring']:.0f} s."
    )
    if judges:
        shares = " and ".join(f"{a:.1%}" for a in judges["accuracy"])
        text += f" The classifiers are right about {shares} of held-out real images"
        text += f"; classes in the column '{SPREAD}': {', '.join(judges['classes'])}." if found["rows"] else "."
    return text
