"""What a setting is chosen by: one metric, or one metric while others stay near their best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rethaw.api import Figure

Figures = Mapping[str, Mapping[str, Figure]]
"""By setting, what each metric found."""


@dataclass(frozen=True)
class Aim:
    """The best by a metric, among the settings that are near the best by others; metrics are named by their ids.

    within: how many times worse than the best a setting may be by each of the others: 1.1 is up to 10 %.
    """

    metric: str
    within: Mapping[str, float] = field(default_factory=dict)

    def ranked(self, figures: Figures, steps: Mapping[str, int]) -> list[str]:
        """Settings from the best on: by how far they are out of bounds, by the metric, by their steps."""
        excess = {name: self.excess(row, figures) for name, row in figures.items()}
        return sorted(figures, key=lambda name: (excess[name], loss(figures[name][self.metric]), steps[name]))

    def kept(self, figures: Figures, steps: Mapping[str, int]) -> list[str]:
        """The better half (successive halving, 1502.07943), and what may yet turn out to be the best.

        That is settings inside the bounds whose interval meets that of the best. The best by each bound stays too,
        since the others are measured by it.
        """
        order = self.ranked(figures, steps)
        half = order[: (len(order) + 1) // 2]
        best = figures[order[0]][self.metric]
        near = [name for name, row in figures.items() if not self.excess(row, figures) and meet(row[self.metric], best)]
        bounds = [min(order, key=lambda name: loss(figures[name][key])) for key in self.within]
        return [name for name in figures if name in {*half, *near, *bounds}]

    def excess(self, row: Mapping[str, Figure], figures: Figures) -> float:
        """How far a setting is out of bounds; 0 inside."""
        return max([0.0, *(loss(row[key]) - self.bound(key, figures) for key in self.within)])

    def bound(self, key: str, figures: Figures) -> float:
        """The loss that is allowed by a metric."""
        best = min(loss(row[key]) for row in figures.values())
        return best + (self.within[key] - 1) * abs(best)

    def why(self, best: str, figures: Figures) -> str:
        """Why a setting was chosen, in words."""
        found = figures[best][self.metric]
        what = f"{found.label} {found.value:.4g} is the {'highest' if found.higher_is_better else 'lowest'}"
        bounds = [
            f"{row.label} is {'at least' if row.higher_is_better else 'at most'} {abs(self.bound(key, figures)):.4g}, "
            f"within {self.within[key] - 1:.0%} of the best"
            for key, row in figures[best].items()
            if key in self.within
        ]
        return f"{what} where {' and '.join(bounds)}" if bounds else f"{what} of all"


def loss(found: Figure) -> float:
    """A figure as what is better where it is less."""
    value = -found.value if found.higher_is_better else found.value
    return math.inf if math.isnan(value) else value


def meet(a: Figure, b: Figure) -> bool:
    """Whether the intervals of two figures have a value in common."""
    return bool(a.interval and b.interval and a.interval[0] <= b.interval[1] and b.interval[0] <= a.interval[1])
