"""Runs from weights that others have trained: an importer reads them, the engine makes a run folder of what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rethaw.api import Imported, Importer, RethawError
from rethaw.config.components import parse_component
from rethaw.config.compose import override
from rethaw.config.load import validate
from rethaw.config.marks import Mark, marked
from rethaw.config.model import Component
from rethaw.engine.faults import broken, naming
from rethaw.engine.parts import assemble
from rethaw.engine.run import Run, load_weights
from rethaw.engine.sampling.walking import Walker
from rethaw.files import expanded
from rethaw.registry import Registry, install, known_plugins

HUB_FILES = ["*.json", "*.safetensors"]


def import_run(
    source: str | Path,
    folder: str | Path,
    overrides: Sequence[str] = (),
    by: str | Component | None = None,
    download: bool = False,
    registry: Registry | None = None,
) -> tuple[Walker, tuple[str, ...]]:
    """Makes a run folder of a file or folder with trained weights; the run, and what its user must know of it.

    overrides: of the pipeline that the importer proposes. by: the importer, where more than one knows the source.
    download: fetch a hub id, `owner/name`, that is not in the cache. Raises RethawError for what cannot be imported.
    """
    registry, run = registry or Registry(), Run(Path(folder))
    run.check_free(resume=False)
    path = find_source(str(source), download, registry)
    item = by if isinstance(by, Component) else parse_component(by or who_knows(path, registry), "importer", registry)
    found = read(path, item, registry)
    tree = marked(dict(found.pipeline), Mark(f"what {item.use} proposes"))
    parts = assemble(*validate(override(tree, overrides)))
    restorer = parts.restorer(initial=False)
    load_weights(restorer.backbone, found.weights, path, "Its description and its weights must belong together.")
    walker = Walker(parts, restorer.to(parts.device).eval(), {}, tuple(found.image_shape))
    with run.held():
        walker.save(run)
    return walker, tuple(found.notes)


def read(path: Path, item: Component, registry: Registry) -> Imported:
    """What the importer makes of the source."""
    importer: Importer = registry.build("importer", item.use, item.params)
    with naming(item.use, f"reading {path}"):
        found = importer.read(path)
    if not isinstance(found, Imported) or not isinstance(found.pipeline, Mapping):
        raise broken(item.use, f"read gave a {type(found).__name__}, not rethaw.api.Imported")
    return found


def who_knows(path: Path, registry: Registry) -> str:
    """The one importer that knows a source. Raises RethawError where none does, or more than one."""
    knowing = []
    for name in registry.names("importer"):
        importer: Importer = registry.build("importer", name, registry.find("importer", name)[1].params())
        with naming(name, f"looking at {path}"):
            if importer.knows(path):
                knowing.append(name)
    if not knowing:
        raise RethawError(f"no importer that is installed knows what {path} is", importers_in_words(registry))
    if len(knowing) > 1:
        names = " or ".join(knowing)
        raise RethawError(f"{names} can read {path}", f"Say which: --importer {knowing[0]}")
    return knowing[0]


def importers_in_words(registry: Registry) -> str:
    """What the installed importers read, and which plugins with others are known."""
    have = [f"{name} reads {spec_files(name, registry)}." for name in registry.names("importer")]
    rows: list[tuple[str, Any]] = [*known_plugins().items()]
    absent = [d for d, row in rows if "importer" in row["names"] and row["namespace"] not in registry.plugins.claims]
    return "\n  ".join([*have, *(f"{install(name)} - {dict(rows)[name]['summary']}" for name in absent)])


def spec_files(name: str, registry: Registry) -> str:
    """What a source of an importer is made of."""
    return str(registry.find("importer", name)[1].traits["files"]) or "sources of its own"


def find_source(source: str, download: bool, registry: Registry) -> Path:
    """A file or folder here, or a hub id, `owner/name`, from the hub's cache; fetched only if `download`."""
    path = expanded(Path(source))
    if path.exists():
        return path
    if source.count("/") != 1 or source.startswith((".", "/", "~")) or path.parent.is_dir():
        raise RethawError(f"there is no file or folder {source}", importers_in_words(registry))
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=HUB_FILES, local_files_only=not download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RethawError(*not_here(source, download, error, registry)) from error


def not_here(source: str, download: bool, error: Exception, registry: Registry) -> tuple[str, str]:
    """What to say of a hub id that cannot be had: which files to put where."""
    reason = f" ({type(error).__name__})" if download else ""
    what = "cannot be fetched" if download else "is not in the hub's cache on this machine"
    hint = (
        f"On a machine that is online, fetch its files from https://huggingface.co/{source}, and put them into a "
        f"folder {source} here. Importers that are installed take:"
    )
    files = [f"{name}: {spec_files(name, registry)}" for name in registry.names("importer")]
    also = [] if download else ["Or add --download, to fetch them now."]
    return (
        f"there is no file or folder {source} here, and the hub's {source} {what}{reason}",
        "\n  ".join([hint, *files, *also]),
    )
