"""CLIP guidance, by small models that transformers makes and saves: their logits, and images that move to the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from torch import Tensor
from torch.nn import functional as F

import rethaw
from rethaw.api import RethawError
from rethaw.testing import check_guide
from rethaw_text.clip import joint
from rethaw_text.models import in_wheel

CPU = torch.device("cpu")
TEXTS = ["red", "green", "blue"]
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = SIZE | {"vocab_size": 30522, "max_position_embeddings": 16}
VISION = SIZE | {"image_size": 8, "patch_size": 4}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def random_model(kind: str) -> Any:
    """Of a few hundred thousand random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "siglip":
            return transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)).eval()
        text = TEXT | {"eos_token_id": 102}
        config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
        return transformers.CLIPModel(config).eval()


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(in_wheel("minilm"))
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP that has learnt, in a few steps, which flat colour is called what."""
    folder = save(random_model("clip"), tmp_path_factory.mktemp("clip"))
    model, words = joint(folder), None
    learnt: Any = model.network.requires_grad_(True)
    adam = torch.optim.Adam(learnt.parameters(), 3e-3)
    rng = torch.Generator().manual_seed(1)
    for _ in range(60):
        flat = 2 * torch.eye(3).repeat(4, 1) - 1 + 0.5 * torch.randn(12, 3, generator=rng)
        images = flat[..., None, None] + 0.3 * torch.randn(12, 3, 8, 8, generator=rng)
        with torch.enable_grad():
            words = model.texts(TEXTS)
            loss = F.cross_entropy(10 * model.images(images) @ words.T, torch.arange(3).repeat(4))
            adam.zero_grad()
            loss.backward()
        adam.step()
    assert float(loss.detach()) < 0.5
    learnt.requires_grad_(False)
    return save(learnt, tmp_path_factory.mktemp("colours"))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_it_is_the_models_own_logit(kind: str, tmp_path: Path) -> None:
    folder = save(random_model(kind), tmp_path)
    guide = rethaw.build("guide", "text.clip_guide", model=str(folder)).toward(TEXTS, CPU)
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    mean, std = (
        torch.tensor(v).view(-1, 1, 1)
        for v in ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    words = tokenizer(TEXTS, padding="max_length", max_length=16, return_tensors="pt")
    network = transformers.AutoModel.from_pretrained(folder).eval()
    given = {key: words[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        peer = network(pixel_values=((x + 1) / 2 - mean) / std, **given).logits_per_image
        found = guide.guide(x * 0, x, torch.ones(3))
    bias = network.logit_bias if kind == "siglip" else 0.0
    assert (found - (peer - bias).diagonal()).abs().max() < 1e-4
    assert rethaw.build("guide", "text.clip_guide", model=str(folder), sees="degraded").toward(TEXTS, CPU).guide(
        x, x * 0, torch.ones(3)
    ) == pytest.approx(found, abs=1e-5)


def test_it_keeps_the_contract_of_guides(colours: Path) -> None:
    for sees in ("estimate", "degraded"):
        check_guide("text.clip_guide", TEXTS, model=str(colours), sees=sees)
    with pytest.raises(RethawError, match="needs a text to lead to"):
        rethaw.build("guide", "text.clip_guide", model=str(colours)).guide(None, None, None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on noise, without a conditioner, and one on lost colour."""
    root = tmp_path_factory.mktemp("runs")
    data = photos(root / "data", 3)
    rethaw.Pipeline.from_yaml(recipe(root, data, "{use: core.gaussian_noise}")).train(root / "noise")
    rethaw.Pipeline.from_yaml(recipe(root, data, "{use: core.desaturate}")).train(root / "grey")
    return root


def similarity(folder: Path, images: Tensor) -> Tensor:
    """Of each image with the three texts, (B, 3)."""
    model = joint(folder)
    with torch.no_grad():
        return model.images(images) @ model.texts(TEXTS).T


@pytest.mark.parametrize("extra", [[], ["guide.clip_guide.gradient=network"]], ids=["estimate", "network"])
def test_what_is_generated_moves_to_the_text(colours: Path, run: Path, extra: list[str]) -> None:
    """Its similarity rises, and it really takes the colour that the text names."""
    plain = rethaw.Pipeline.load(run / "noise").generate(3, steps=5)
    guide = f"guide={{use: text.clip_guide, model: {colours}, scale: 10}}"
    led = rethaw.Pipeline.load(run / "noise", [guide, *extra]).generate(3, steps=5, cond={"caption": TEXTS})
    before, after = (similarity(colours, images).diagonal() for images in (plain, led))
    assert (after > before + 0.1).all()
    colour = (led - plain).mean((2, 3))
    assert colour.argmax(1).tolist() == [0, 1, 2] and (colour.diagonal() > 0.05).all()


def test_a_restoration_moves_to_the_text_too(colours: Path, run: Path) -> None:
    plain, led = (
        rethaw.Pipeline.load(run / "grey", guide)
        for guide in ([], [f"guide={{use: text.clip_guide, model: {colours}, scale: 10}}"])
    )
    grey = plain.degrade(torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)) - 0.5)[0]
    before = similarity(colours, plain.restore(grey)).diagonal()
    after = similarity(colours, led.restore(grey, cond={"caption": TEXTS})).diagonal()
    assert (after > before + 0.1).all()


@pytest.mark.long
def test_on_the_command_line(colours: Path, run: Path) -> None:
    guide = f"{{use: text.clip_guide, model: {colours}, scale: 10}}"
    words = ["generate", "noise", "--guide", guide, "-n", "1", "--steps", "2"]
    command(*words, "--cond", "caption=red", "--out", "red", cwd=run)
    assert "text.clip_guide" in (run / "red" / "report.json").read_text()
    done = command(*words, "--cond", "capton=red", cwd=run, check=False)
    assert done.returncode == 2 and "nothing here reads the condition capton" in done.stderr


def test_what_is_missing_is_told_with_where_to_put_it(tmp_path: Path) -> None:
    for model, message in (
        ("openai/clip-vit-base-patch32", r"config\.json, tokenizer\.json, model\.safetensors into a folder"),
        ("./nowhere", r"there is no model folder \./nowhere\n  Put config\.json"),
        ("minilm", "does not embed images and texts in one space"),
    ):
        with pytest.raises(RethawError, match=message):
            rethaw.build("guide", "text.clip_guide", model=model).toward(["red"], CPU)
    folder = save(random_model("clip"), tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RethawError, match=r"cannot be loaded(.|\n)*model\.safetensors"):
        rethaw.build("guide", "text.clip_guide", model=str(folder)).toward(["red"], CPU)
