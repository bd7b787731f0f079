"""A rethaw plugin: images drown in one colour."""

from dataclasses import dataclass

from rethaw.api import degradation, hookimpl


@dataclass(frozen=True)
class Tint:
    """Blends images into one colour.

    colour: red, green and blue at full strength, in [-1, 1].
    """

    colour: tuple[float, float, float] = (0.6, 0.2, -0.4)


@hookimpl
def rethaw_degradations():
    return [degradation("tint", Tint, target="rethaw_tint_ops:TintOp", channels=3, summary="Blends into one colour.")]
