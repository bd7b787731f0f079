"""Finds what a user names: a YAML file, a recipe, a run folder; and says what was perhaps meant."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from rethaw.api import RethawError
from rethaw.files import expanded

RESOLVED, LOCK = "resolved.yaml", "lock.json"
SUFFIXES = (".yaml", ".yml")


def recipe_path(name: str) -> Path | None:
    """The file of the recipe with that name."""
    folder = Path(str(files("rethaw") / "recipes"))
    return next((path for path in folder.glob("*.yaml") if path.stem == name), None)


def recipe_names() -> list[str]:
    """The recipes that ship with rethaw; those that only others extend start with _ and are not listed."""
    names = (p.name for p in (files("rethaw") / "recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and not name.startswith("_"))


def find_file(name: str, beside: Path | None = None) -> Path:
    """A YAML file by path, relative to `beside` (default: here), a recipe by name, or what a run folder holds."""
    path = (beside or Path()) / expanded(name)
    try:
        if path.is_dir() and (path / RESOLVED).is_file():
            return path / RESOLVED
        if path.is_file():
            return path
        recipe = recipe_path(name)
        if recipe:
            return recipe
        raise not_there(name, path)
    except OSError as error:  # a name that is too long, a folder that may not be entered
        hint = "Name a YAML file, a recipe or a run folder."
        raise RethawError(f"cannot look for {shown(name)}: {error.strerror}", hint) from error


def not_there(name: str, path: Path) -> RethawError:
    """No file, recipe or run has that name."""
    if path.is_dir():
        hint = nearest_runs(name) or "Name a YAML file, a recipe or a run folder."
        return RethawError(f"{path} is a folder without {RESOLVED}, so it is no run", hint)
    if path.exists():
        return RethawError(f"{path} is not a file that can be read", "Name a YAML file, a recipe or a run folder.")
    files = (str(p) for p in listing(path.parent) if p.suffix in SUFFIXES)
    close = did_you_mean(str(path), files) or did_you_mean(name, runs_near(name)) or did_you_mean_recipe(path.stem)
    if is_path(name):
        folder = path.parent if not path.parent.is_dir() else None
        hint = f"There is no folder {folder} either." if folder else f"The recipes are: {', '.join(recipe_names())}."
        return RethawError(f"there is no file {shown(str(path))}", close or hint)
    return RethawError(f"there is no file {shown(str(path))} and no recipe {shown(name)}", close or suggest(name))


def is_path(name: str) -> bool:
    """Whether a name can only be a path, and no recipe's name."""
    return "/" in name or os.sep in name or name.endswith(SUFFIXES) or name.startswith(("~", "."))


def suggest(name: str) -> str:
    """What to write instead of a recipe that does not exist."""
    return did_you_mean_recipe(name) or f"The recipes are: {', '.join(recipe_names())}."


def did_you_mean_recipe(name: str) -> str:
    return did_you_mean(name, recipe_names(), " (a recipe)")


def nearest_runs(name: str) -> str:
    """A hint for a run that is not there: the runs that are spelt nearly like it, else all that are near."""
    folders = sorted(runs_near(name))
    return did_you_mean(name, folders) or (f"Runs here: {', '.join(folders[:8])}." if folders else "")


def runs_near(name: str) -> set[str]:
    """The run folders here, beside a name, and in runs/."""
    return {str(p) for at in (Path(), expanded(name).parent, Path("runs")) for p in listing(at) if is_run(p)}


def is_run(folder: Path) -> bool:
    try:
        return (folder / RESOLVED).is_file()
    except OSError:
        return False


def listing(folder: Path, most: int = 1000) -> Iterator[Path]:
    """The first entries of a folder; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (folder / entry.name for entry, _ in zip(entries, range(most), strict=False))
    except (OSError, ValueError):  # also a name that no folder can have
        return


def did_you_mean(name: str, candidates: Iterable[str], note: str = "") -> str:
    """A question for the candidates that are spelt like a name, by whole path or by last part; "" if none is."""
    names = sorted(candidates)
    last = {Path(path).name: path for path in reversed(names)}
    close = difflib.get_close_matches(name, names, 2, 0.7) if len(name) < 200 else []
    close += [last[one] for one in difflib.get_close_matches(Path(name).name[:200], last, 2, 0.7)]
    return f"Did you mean {' or '.join(dict.fromkeys(close))}{note}?" if close else ""


def shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:97]}…")


def requirements_of_run(path: Path) -> dict[str, str]:
    """What a run was trained with, namespace → requirement for pip, from the lock.json beside its resolved.yaml."""
    if path.name != RESOLVED:
        return {}
    try:
        plugins = json.loads((path.parent / LOCK).read_bytes())["plugins"]
        rows = {
            name: row
            for name, row in plugins.items()
            if isinstance(row, dict) and {"distribution", "version"} <= {*row}
        }
        return {name: f"{row['distribution']}=={row['version']}" for name, row in rows.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
