"""A model's folder in diffusers' layout, read without running anything of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rethaw.api import RethawError

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
SHARDS = tuple(f"{name}.index.json" for name in WEIGHTS)
PIPELINES = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
NETWORK = "UNet2DModel"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file. Raises RethawError where there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RethawError(f"{path} is missing", "A folder that diffusers has saved has it; copy the whole.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RethawError(f"{path} is no JSON that can be read: {error}", "Copy it anew.") from error
    if not isinstance(found, dict):
        raise RethawError(f"{path} holds a {type(found).__name__}, not an object", "Copy it anew.")
    return found


def parts(folder: Path) -> tuple[Path, Path]:
    """Where the network's config.json and the scheduler's lie: in folders of their own, or side by side.

    Raises RethawError for a pipeline that has more than a U-Net in pixel space, or code of its own.
    """
    if (folder / INDEX).is_file():
        check_index(read_json(folder / INDEX), folder / INDEX)
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    scheduler = folder / "scheduler" if (folder / "scheduler").is_dir() else folder
    if not (scheduler / SCHEDULER).is_file() and (folder.parent / "scheduler" / SCHEDULER).is_file():
        scheduler = folder.parent / "scheduler"
    for part in (unet, scheduler):
        if not part.resolve().is_relative_to(folder.resolve().parent):
            raise RethawError(f"{part} leads out of {folder}: it is refused", "Name the folder itself.")
    return unet, scheduler


def check_index(index: Mapping[str, Any], path: Path) -> None:
    """Refuses a pipeline that is not a U-Net and a scheduler of diffusers itself."""
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise RethawError(
            f"{path} is of {name!r}: that is no pipeline that can be imported, and code of its own is never run",
            f"The pipelines are: {', '.join(PIPELINES)}.",
        )
    entries = {key: value for key, value in index.items() if not key.startswith("_")}
    for key, value in entries.items():
        whose = value[0] if isinstance(value, list) and len(value) == 2 else value
        if key not in ("unet", "scheduler") or whose != "diffusers":
            raise RethawError(
                f"{path}: {key} is {value!r}, which is neither the U-Net nor the scheduler of diffusers",
                "Only models in pixel space can be imported: a U-Net and a scheduler, and no code.",
            )
    if entries.get("unet") != ["diffusers", NETWORK]:
        raise RethawError(f"{path}: the unet is {entries.get('unet')!r}, not a {NETWORK}", only())


def network_config(folder: Path) -> dict[str, Any]:
    """The network's config.json without diffusers' own keys. Raises RethawError for a network of another kind."""
    config = read_json(folder / CONFIG)
    name, path = config.get("_class_name"), folder / CONFIG
    if name != NETWORK or "auto_map" in config:
        raise RethawError(f"{path} is of {name!r}, not of a {NETWORK}, and code of its own is never run", only())
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        raise RethawError(f"{path}: the network wants a class with each image, which cannot be imported yet", only())
    if config.get("time_embedding_type", "positional") != "positional":
        raise RethawError(
            f"{path}: the network is told noise levels ({config['time_embedding_type']}), not timesteps", only()
        )
    return {key: value for key, value in config.items() if not key.startswith("_")}


def only() -> str:
    """What can be imported."""
    return f"{NETWORK} with timesteps, and without classes, is what can be imported."


def check_weights(folder: Path) -> list[Path]:
    """The files of weights that are pickles; none where they are safetensors.

    Raises RethawError where there are none, or their names lead out of the folder.
    """
    index = next((folder / name for name in SHARDS if (folder / name).is_file()), None)
    whole = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if index is None and whole is None:
        raise RethawError(f"{folder / WEIGHTS[0]} is missing", f"The weights belong beside {folder / CONFIG}.")
    files = {folder / name for name in shards(index)} if index else {whole}
    return sorted(path for path in files if path and path.suffix != ".safetensors")


def shards(index: Path) -> set[str]:
    """The files that an index of weights names, all beside it. Raises RethawError for any other."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise RethawError(f"{index} names no weights", "Copy it anew.")
    for file in named.values():
        if not isinstance(file, str) or Path(file).name != file or file in ("", "..") or "\\" in file:
            raise RethawError(f"{index} names {file!r}, not a file beside it: it is refused")
        if not (index.parent / file).is_file():
            raise RethawError(f"{index.parent / file} is missing", "Copy the whole folder.")
    return set(named.values())
