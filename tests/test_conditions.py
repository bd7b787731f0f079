"""What restorers are conditioned on: labels, captions, images, several at once; where captions come from; bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rethaw
from rethaw.api import RethawError
from rethaw.config import load_text
from rethaw.config.dump import dump_config
from rethaw.config.model import Precision
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.parts import build_conditioners
from rethaw.engine.restorer.conditioners import Conditioners, joined, stacked
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.measurement import Measurement
from rethaw.ops import generators
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.worlds import images

NOISE = "degradation: {use: core.gaussian_noise}\n"
PIXELS = "{use: core.image, of: {use: kornia.pixelate, block_max: 4}, drop: 0}"


def conditioners(text: str) -> Conditioners:
    return build_conditioners(*load_text(f"{NOISE}conditioner: {text}"))


class Tokens:
    """A conditioner of tokens: each value is a number of words."""

    def __init__(self, width: int) -> None:
        self.widths = {"tokens": width}

    def encode(self, values: Any, device: Any, generator: Any) -> dict[str, torch.Tensor]:
        longest, (width,) = max(values), self.widths.values()
        mask = torch.arange(longest) < torch.tensor(values)[:, None]
        return {"tokens": mask[..., None] * torch.ones(len(values), longest, width), "tokens_mask": mask}

    def null(self, like: Any) -> dict[str, torch.Tensor]:
        return {key: torch.zeros_like(value) for key, value in like.items()}


# --- joining ---------------------------------------------------------------------------------------------------


def test_several_conditioners_stand_side_by_side() -> None:
    second = "{id: second, use: core.label, field: kind, classes: [a, b, c]}"
    text = f"[{{use: core.label, classes: [cat, dog]}}, {second}, {PIXELS}]"
    made, x = conditioners(text), images(2, dtype=torch.float32)
    assert made.widths == {"vector": 5, "image": 3}
    cond = made.of_items({"image": x, "label": ["cat", "dog"], "kind": ["c", "a"]}, x, generators(0, 2))
    assert cond["vector"].tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]
    pixelated = rethaw.build("degradation", "kornia.pixelate", block_max=4).degrade(x, torch.ones(2), {})
    assert (cond["image"] - pixelated).abs().max() < 1e-6
    partly = made.encode({"kind": ["b", "b"], "image": list(x)}, x)  # no label given: its null
    assert partly["vector"].tolist() == [[0, 0, 0, 1, 0]] * 2 and torch.equal(partly["image"], x)


def test_tokens_are_joined_along_their_length_and_must_be_of_one_width(monkeypatch: pytest.MonkeyPatch) -> None:
    two = conditioners("[{use: core.label, classes: [a]}, {id: b, use: core.label, field: words, classes: [a]}]")
    members = [m._replace(encoder=Tokens(4)) for m in two.members]
    x = images(2, dtype=torch.float32)
    cond = joined([members[0].encode([2, 3], x, None), members[1].encode([1, 1], x, None)])
    assert cond["tokens"].shape == (2, 4, 4)
    assert cond["tokens_mask"].tolist() == [[True, True, False, True], [True, True, True, True]]
    null = members[0].blank(x)
    assert null["tokens"].abs().max() == 0 and null["tokens_mask"].tolist() == [[True]] * 2, "attention sees one token"
    both = stacked(cond, null)
    assert both["tokens"].shape == (4, 4, 4)
    assert both["tokens_mask"][2:].tolist() == [[True, False, False, False]] * 2
    two.members = [members[0], members[1]._replace(encoder=Tokens(6))]
    with pytest.raises(RethawError, match="tokens of different widths: label 4, b 6"):
        two.width("tokens")


def test_training_drops_each_condition_on_its_own_as_often_as_it_says() -> None:
    made = conditioners(
        "[{use: core.label, classes: [a], drop: 0.3}, {id: b, use: core.label, field: k, classes: [a], drop: 0}]"
    )
    x = torch.zeros(4000, 3, 1, 1)
    vector = made.of_items({"label": ["a"] * 4000, "k": ["a"] * 4000}, x, generators(0, 4000), drop=True)["vector"]
    assert abs(float(vector[:, 0].mean()) - 0.7) < 0.03 and vector[:, 1].min() == 1


# --- images ----------------------------------------------------------------------------------------------------


def test_an_image_condition_takes_files_of_any_size(tmp_path: Path) -> None:
    made = conditioners(PIXELS)
    Image.new("RGB", (5, 4), (255, 0, 0)).save(tmp_path / "small.png")
    x = images(2, dtype=torch.float32)
    for value in (str(tmp_path / "small.png"), Image.open(tmp_path / "small.png")):
        cond = made.encode({"image": [value] * 2}, x)["image"]
        assert cond.shape == x.shape and (cond - torch.tensor([1.0, -1, -1])[:, None, None]).abs().max() < 1e-5
    with pytest.raises(RethawError, match=r"needs a value\n  Give it: --cond image=VALUE"):
        made.encode({}, x)
    with pytest.raises(RethawError, match="images of several sizes"):
        made.encode({"image": [x[0], x[0, :, 1:]]}, x)
    with pytest.raises(RethawError, match=r"3 channels, not \(1, 24, 20\)"):
        made.encode({"image": [x[0, :1]] * 2}, x)


def test_a_restorer_is_trained_on_an_observed_image_and_follows_it(tmp_path: Path) -> None:
    text = f"conditioner: {PIXELS}\n"
    path = recipe(tmp_path, photos(tmp_path / "photos"), "{use: core.gaussian_noise}", text)
    pipeline = rethaw.Pipeline.from_yaml(path)
    pipeline.train(tmp_path / "run")
    loaded = rethaw.Pipeline.load(tmp_path / "run")
    assert loaded.config == pipeline.config and "kornia.pixelate" in dump_config(loaded.config)
    low = images(2, 3, 8, 8, dtype=torch.float32)
    made = [loaded.generate(2, cond={"image": list(each)}, steps=2, seed=1) for each in (low, -low)]
    assert made[0].shape == (2, 3, 16, 16) and not torch.equal(*made)
    with pytest.raises(RethawError, match=r"core\.image was trained without its null condition"):
        loaded.generate(2, steps=2)
    command(
        "restore", "run", "photos/0.png", "--degrade", "--steps", "2", "--out", "degraded", cwd=tmp_path
    )  # its own low image
    one = [tmp_path / "photos" / "0.png"]
    assert evaluate(loaded.walker, one, {"ddim": Contestant(loaded.walker, How("core.ddim", 2))}).images == 1
    lock = json.loads((tmp_path / "run" / "lock.json").read_text())
    assert "kornia" in lock["plugins"], "the degradation of a conditioner is a plugin that the run needs"


def test_the_clean_image_itself_is_no_condition() -> None:
    with pytest.raises(RethawError, match="the clean image itself"):
        conditioners("{use: core.image}")
    assert conditioners("{use: core.image, field: sketch, channels: 1}").widths == {"image": 1}


# --- captions --------------------------------------------------------------------------------------------------


def folder(path: Path, **params: Any) -> Any:
    return rethaw.build("dataset", "core.folder", path=str(path), size=8, **params)


def captions(path: Path, **params: Any) -> dict[str, str]:
    data = folder(path, **params)
    found = [data.item(i, torch.Generator()) for i in range(len(data))]
    return {Path(item["path"]).relative_to(path).as_posix(): item["caption"] for item in found}


def test_captions_stand_beside_the_images_in_a_table_or_in_the_labels(tmp_path: Path) -> None:
    photos(tmp_path / "cat", 2)
    photos(tmp_path / "dog", 1)
    assert captions(tmp_path, captions="a photo of a {label}") == {
        "cat/0.png": "a photo of a cat",
        "cat/1.png": "a photo of a cat",
        "dog/0.png": "a photo of a dog",
    }
    for name in ("cat/0", "cat/1", "dog/0"):
        (tmp_path / f"{name}.txt").write_text(f"this is {name} ☂\n", "utf-8")
    assert captions(tmp_path, captions="sidecar")["dog/0.png"] == "this is dog/0 ☂"
    rows = [{"file_name": "cat/0.png", "text": "one"}, {"file_name": "cat/1.png", "caption": "two", "extra": 3}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (tmp_path / "dog/metadata.jsonl").write_text('{"file_name": "0.png", "text": "three"}')
    assert captions(tmp_path, captions="metadata") == {"cat/0.png": "one", "cat/1.png": "two", "dog/0.png": "three"}


def test_missing_captions_are_listed(tmp_path: Path) -> None:
    photos(tmp_path, 8)
    (tmp_path / "3.txt").write_text("there is one")
    (tmp_path / "4.txt").write_text("  \n")
    with pytest.raises(
        RethawError, match=r"7 of 8 images have no caption: 0\.png, 1\.png, 2\.png, 4\.png, 5\.png and 2 more"
    ):
        folder(tmp_path, captions="sidecar")
    with pytest.raises(RethawError, match=r"8 of 8 images have no caption(.|\n)*sub-folder"):
        folder(tmp_path, captions="a {label}")
    with pytest.raises(RethawError, match=r"there is no metadata\.jsonl"):
        folder(tmp_path, captions="metadata")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a"}\n{"file": 3}\n')
    with pytest.raises(RethawError, match=r"metadata\.jsonl:2 is not a JSON object with a file_name"):
        folder(tmp_path, captions="metadata")
    with pytest.raises(
        RethawError, match=r"captions is sidecar, metadata, or a template with \{label\} in it, not 'sidecars'"
    ):
        folder(tmp_path, captions="sidecars")


def test_data_without_the_field_is_refused_before_training_starts(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    conditioner = "conditioner: {use: core.label, field: caption, classes: [a]}\n"
    path = recipe(tmp_path, data, "{use: core.gaussian_noise}", conditioner)
    with pytest.raises(
        RethawError, match=r"core\.label needs 'caption' of each image(.|\n)*core\.folder takes captions"
    ):
        rethaw.Pipeline.from_yaml(path).train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- values that nothing reads -----------------------------------------------------------------------------------


def test_conditions_and_states_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        photos(tmp_path / "data" / label, 2)
    path = recipe(tmp_path, tmp_path / "data", "{use: core.mask}", "conditioner: {use: core.label}\n")
    pipeline = rethaw.Pipeline.from_yaml(path, ["train.steps=1"])
    pipeline.train(tmp_path / "run")
    x = images(1, height=16, width=16, dtype=torch.float32)
    with pytest.raises(
        RethawError, match=r"nothing here reads the condition labl\n  Did you mean label\? There is: label\."
    ):
        pipeline.restore(x, sampler="core.direct", cond={"labl": ["cat"]})
    with pytest.raises(RethawError, match=r"nothing here reads the state hole\n  There is: mask\."):
        pipeline.restore(x, state={"hole": torch.zeros(1, 1, 16, 16)})
    mask = rethaw.build("degradation", "core.mask")
    with pytest.raises(RethawError, match=r"nothing here reads the state hole\n  There is: mask\."):
        Measurement(mask, Precision()).observation(x, 1.0, {"hole": torch.zeros(1, 1, 16, 16)})
    with pytest.raises(RethawError, match="unknown label fish"):
        pipeline.restore(x, sampler="core.direct", cond={"label": ["fish"]})
    assert conditioners("[]").encode({}, x) == {}
    with pytest.raises(RethawError, match=r"the condition label\n  This pipeline has no conditioner"):
        conditioners("[]").encode({"label": ["cat"]}, x)
