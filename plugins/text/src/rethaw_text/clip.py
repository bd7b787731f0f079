"""The guide `text.clip_guide`: an image should be near a text in the space that a model has learned for both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw_text.models import NEEDED, OFFLINE, errors_in_words, find_model, quiet
from rethaw_text.plugin import ClipGuide as Params

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's images, for a model without preprocessor_config.json."""
WANTED = f"Take one like CLIP or SigLIP, a folder with {', '.join(NEEDED)}."
TAKEN = ("input_ids", "attention_mask")


class Joint(nn.Module):
    """An image-text model: both to unit vectors of one space. scale: by which it multiplies their products."""

    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        super().__init__()
        with quiet(), errors_in_words(folder):
            config: Any = AutoConfig.from_pretrained(folder, **OFFLINE)
        if not hasattr(config, "text_config") or not hasattr(config, "vision_config"):
            raise RethawError(f"the model in {folder} does not embed images and texts in one space", WANTED)
        with quiet(), errors_in_words(folder):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **OFFLINE)
            self.network: Any = AutoModel.from_pretrained(folder, **OFFLINE).eval().requires_grad_(False)
            self.scale = float(self.network.logit_scale.exp())
        self.side = int(config.vision_config.image_size)
        file = folder / "preprocessor_config.json"
        said = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        for key, default in (("mean", MEAN), ("std", STD)):
            self.register_buffer(key, torch.tensor(said.get(f"image_{key}", default)).view(-1, 1, 1))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (B, D)."""
        most = min(int(self.tokenizer.model_max_length), int(self.network.config.text_config.max_position_embeddings))
        words = self.tokenizer(list(texts), padding="max_length", truncation=True, max_length=most, return_tensors="pt")
        given = {key: value.to(self.mean.device) for key, value in words.items() if key in TAKEN}
        return unit(self.network.get_text_features(**given))

    def images(self, images: Tensor) -> Tensor:
        """(B, C, H, W) on the scale of [-1, 1], of any channels and size → unit vectors (B, D)."""
        colour = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
        square = F.interpolate(colour.float(), (self.side, self.side), mode="bicubic", antialias=True)
        return unit(self.network.get_image_features(pixel_values=((square + 1) / 2 - self.mean) / self.std))


def unit(found: Any) -> Tensor:
    """Features as unit vectors; transformers gives them bare before version 5."""
    return F.normalize(found if isinstance(found, Tensor) else found.pooler_output, dim=1)


@lru_cache(maxsize=2)
def joint(folder: Path) -> Joint:
    """The model of a folder, shared by all who name it."""
    return Joint(folder)


class ClipGuide:
    """Finds the model; it is loaded when the first text is to be followed."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def toward(self, values: Sequence[Any], device: torch.device) -> TowardTexts:
        """The guide towards these texts, one an image."""
        model = joint(find_model(self.params.model, self.params.download).resolve()).to(device)
        with torch.no_grad():
            return TowardTexts(model, model.texts([str(value) for value in values]), self.params.sees == "estimate")

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        """Leads nowhere without a text."""
        raise RethawError("text.clip_guide needs a text to lead to", f"Give it: --cond {self.params.field}=TEXT.")


@dataclass(frozen=True)
class TowardTexts:
    """log p(text | image) but for a constant: the model's logit, exp(s) · f(image)·g(text)."""

    model: Joint
    texts: Tensor
    estimate: bool

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        """The logits (B,)."""
        images = self.model.images(x0_hat if self.estimate else x)
        return self.model.scale * (images * self.texts).sum(1)
