"""rethaw inverts image degradations: restorers, cold and hot diffusion samplers, and plugins for everything.

`rethaw.Pipeline` is the whole product in Python; `rethaw.build` makes one component by kind and name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Pipeline", "RethawError", "__version__", "build"]

if TYPE_CHECKING:
    from rethaw.api import RethawError
    from rethaw.engine.parts import build
    from rethaw.engine.pipeline import Pipeline

_LAZY = {"Pipeline": "rethaw.engine.pipeline", "build": "rethaw.engine.parts", "RethawError": "rethaw.api"}


def __getattr__(name: str) -> Any:
    """Imports torch only when something that needs it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'rethaw' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
