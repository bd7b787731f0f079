"""What an evaluation found: as a table, as JSON, as a plot of perception against distortion, as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rethaw import pictures
from rethaw.api import Figure
from rethaw.files import json_text, write_text


@dataclass(frozen=True)
class Row:
    """One way to restore, or the degraded images themselves: what was measured of it, on how many images.

    seconds: that restoring took, an image. line, label: of the plot, in which the rows of a line are joined.
    examples: a few results, (C, H, W) each. how: all that made them.
    """

    figures: Mapping[str, Figure]
    images: int
    seconds: float | None = None
    line: str = ""
    label: str = ""
    examples: list[Tensor] = field(default_factory=list)
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What an evaluation found: rows by name, those that could not be measured with the reason, files left out."""

    table: Mapping[str, Row]
    images: int
    severity: float | None
    seed: int
    refused: Mapping[str, str]
    skipped: list[str]
    examples: list[Tensor]

    @property
    def rows(self) -> dict[str, dict[str, float]]:
        """By row the value of each metric."""
        return {name: {key: found.value for key, found in row.figures.items()} for name, row in self.table.items()}

    @property
    def how_degraded(self) -> str:
        """The severity in words."""
        return "severities as the run estimates them" if self.severity is None else f"severity {self.severity:g}"

    @property
    def notes(self) -> list[str]:
        """What must be known beside the figures: rows left out, by reason; what metrics say of themselves."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.refused.items():
            by_reason.setdefault(reason, []).append(name)
        said = dict.fromkeys(found.note for row in self.table.values() for found in row.figures.values() if found.note)
        return [f"not measured: {'; '.join(names)}: {reason}" for reason, names in by_reason.items()] + [*said]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "severity": self.severity,
            "seed": self.seed,
            "rows": self.rows,
            "figures": {name: {k: f._asdict() for k, f in row.figures.items()} for name, row in self.table.items()},
            "images_by_row": {name: row.images for name, row in self.table.items()},
            "seconds_per_image": {n: row.seconds for n, row in self.table.items() if row.seconds is not None},
            "how": {name: row.how for name, row in self.table.items() if row.how},
            "refused": self.refused,
            "skipped": self.skipped,
        }

    def markdown(self, mark: str = "") -> str:
        """A table, with 95 % intervals; a row may be marked. Images have a column where rows differ in them."""
        heads = {key: found.label for key, found in next(iter(self.table.values())).figures.items()}
        differ = len({row.images for row in self.table.values()}) > 1
        titles = [*heads.values(), *["images"] * differ, "s/image"]
        lines = [f"| | {' | '.join(titles)} |", "|---|" + "---:|" * len(titles)]
        digits = {key: 2 if max(abs(row[key]) for row in self.rows.values()) >= 10 else 4 for key in heads}
        for name, row in self.table.items():
            cells = [cell(row.figures[key], digits[key]) for key in heads] + [str(row.images)] * differ
            seconds = "" if row.seconds is None else f"{row.seconds:.{2 if row.seconds >= 0.1 else 4}f}"
            title = f"**{name}** (chosen)" if name == mark else name
            lines.append(f"| {' | '.join([title, *cells, seconds])} |")
        return "\n".join(lines)

    @property
    def axes(self) -> tuple[str, str] | None:
        """The metrics of the plot: one of distortion (rather one that is better where less), and one of perception."""
        figures = next(iter(self.table.values())).figures
        seen = [key for key, found in figures.items() if found.kind == "perception"]
        apart = sorted((key for key in figures if key not in seen), key=lambda key: figures[key].higher_is_better)
        return (apart[0], seen[0]) if apart and seen else None

    def curve(self, mark: str = "") -> pictures.Canvas | None:
        """The plot of perception against distortion; None where metrics of one of the two are missing."""
        if self.axes is None:
            return None
        x, y = self.axes
        lines: dict[str, list[pictures.Point]] = {}
        for name, row in self.table.items():
            a, b = row.figures[x], row.figures[y]
            if row.line:
                label = f"{row.label} (chosen)" if name == mark else row.label
                lines.setdefault(row.line, []).append(pictures.Point(a.value, b.value, label, b.interval))
        return pictures.trade_off(lines, "perception against distortion", a.label, b.label)

    def sheet(self) -> pictures.Canvas:
        """A few images: clean where there are such, and a row of them for each row of the table."""
        clean = {"clean": self.examples} if self.examples else {}
        rows = {**clean, **{name: row.examples for name, row in self.table.items()}}
        return pictures.grid(list(rows.values()), list(rows), [])

    def save(self, folder: Path, mark: str = "", **more: Any) -> list[str]:
        """Writes results.md, results.json, sheet.png and, if it can be drawn, curve.png; their names.

        mark: a row that stands out. more: what else JSON is to say.
        """
        below = f"{self.images} images, {self.how_degraded}"
        write_text(folder / "results.md", f"{self.markdown(mark)}\n\n{below}\n")
        pictures.save(self.sheet(), folder / "sheet.png")
        plot = self.curve(mark)
        if plot:
            pictures.save(plot, folder / "curve.png")
        else:
            (folder / "curve.png").unlink(missing_ok=True)  # of what was measured before
        write_text(folder / "results.json", json_text({**more, **self.as_dict()}))
        return ["results.md", "results.json", "sheet.png", *["curve.png"] * bool(plot)]


def cell(found: Figure, digits: int) -> str:
    """A figure with its interval."""
    value = f"{found.value:.{digits}f}"
    return f"{value} ({found.interval[0]:.{digits}f} to {found.interval[1]:.{digits}f})" if found.interval else value
