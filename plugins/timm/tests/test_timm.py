"""timm's networks as restorers: each trains on real crops, hears severity and condition, and takes any size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.backbones import COND, condition, falls, heard, images, returns_by_safetensors
from torch import Tensor, nn

import rethaw
from rethaw.api import Context, RethawError
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.tiles import tiled
from rethaw.testing import backbone_tests
from rethaw.testing.backbones import run_backbone_check

ENCODERS = [
    "test_convnext",
    "resnet10t",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "swin_tiny_patch4_window7_224",
    "regnetx_002",
    "ghostnet_050",
    "edgenext_xx_small",
    "pvt_v2_b0",
    "mobilevit_xxs",
    "test_vit",
]
FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("timm.unet", {"encoder": "test_convnext", "width": 16, "blocks": 1}),
    ("timm.unet", {"encoder": "resnet10t", "width": 8, "stride": 4, "blocks": 1}),
    ("timm.vit", {"width": 64, "heads": 2, "depth": 3}),
]


TestUNet = backbone_tests("timm.unet", *({"encoder": e, "width": 8, "blocks": 1} for e in ENCODERS[:2]))
TestViT = backbone_tests("timm.vit", FAMILIES[2][1])


def unet(encoder: str, channels: int = 3, cond: dict[str, int] | None = None, **params: Any) -> Any:
    given = {"width": 8, "blocks": 1, **params}
    return rethaw.build("backbone", "timm.unet", Context(channels, channels, cond or {}), encoder=encoder, **given)


@pytest.mark.parametrize("name, params", FAMILIES)
def test_it_learns_on_photographs(name: str, params: dict[str, Any]) -> None:
    before, after = falls(name, params)
    assert after < 0.8 * before


@pytest.mark.parametrize("name, params", FAMILIES)
def test_severity_and_every_condition_change_the_output(name: str, params: dict[str, Any]) -> None:
    heard(rethaw.build("backbone", name, Context(3, 3, COND), **params))


@pytest.mark.parametrize("name, params", FAMILIES)
def test_its_weights_return(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    returns_by_safetensors(lambda: rethaw.build("backbone", name, Context(3, 3, COND), **params), tmp_path)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_of_many_families(encoder: str) -> None:
    net = unet(encoder).eval()
    assert encoder == "pvt_v2_b0" or net.multiple == 16
    for side in (1, 3):
        x = images(2, net.multiple * side, net.multiple)
        out = net(x, torch.tensor([0.2, 1.0]), {})
        assert out.shape == x.shape and torch.equal(out, torch.zeros_like(out)), "it must first return zero"
    nn.init.ones_(net.head.weight)
    net(x, torch.tensor([0.2, 1.0]), {}).sum().backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None]
    assert not idle, f"a part of the encoder is not used: {idle[:3]}"


@pytest.mark.parametrize(
    "encoder, attends",
    [
        ("test_convnext", False),
        ("resnet10t", False),
        ("efficientnet_b0", False),  # a mean over all pixels of the same kind stays what it was
        ("poolformer_s12", False),
        ("swin_tiny_patch4_window7_224", True),
        ("test_vit", True),
        ("edgenext_xx_small", True),
        ("efficientvit_b0", True),  # linear attention: no softmax, but sums over all pixels
    ],
)
def test_encoders_that_attend_are_for_one_size(encoder: str, attends: bool) -> None:
    assert unet(encoder).fixed_size == attends


def test_a_vit_must_say_that_it_is_for_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    net = rethaw.build("backbone", "timm.vit", Context(3, 3), **FAMILIES[2][1])
    assert net.fixed_size
    monkeypatch.setattr(type(net), "fixed_size", False)
    with pytest.raises(AssertionError, match="set fixed_size = True"):
        run_backbone_check("larger_images_are_no_different", "timm.vit", FAMILIES[2][1])


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name, params", [FAMILIES[0], FAMILIES[2]])
def test_channels(name: str, params: dict[str, Any], channels: int) -> None:
    net = rethaw.build("backbone", name, Context(channels, 2 * channels), **params)
    x = images(1, 32, 48)[:, :1].expand(-1, channels, -1, -1)
    assert net(x, torch.ones(1), {}).shape == (1, 2 * channels, 32, 48)


@pytest.mark.parametrize("height, width", [(17, 40), (5, 3)])
def test_odd_sizes_in_a_pipeline(height: int, width: int) -> None:
    for name, params in FAMILIES:
        net = rethaw.build("backbone", name, Context(3, 3), **params)
        x = images(2, height, width)
        assert tiled(Restorer(net), x, torch.ones(2), {}, None).shape == (2, 3, height, width)


def test_detail_survives_a_strided_stem() -> None:
    """A network that sees pixels only through a stride of 16 could not tell two neighbours apart."""
    net = unet("test_vit").eval()
    nn.init.ones_(net.head.weight)
    x = images(1, 32, 32).requires_grad_()
    net(x, torch.ones(1), {})[0, 0, 16, 16].backward()
    assert x.grad is not None
    near = x.grad.abs().sum((0, 1))
    assert near[16, 16] > 2 * near[16, 24]


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_weights_of_a_file(weights: Path) -> None:
    net = unet("test_resnet", weights=str(weights))
    given = timm.create_model("test_resnet", checkpoint_path=str(weights)).state_dict()
    found = {k: v for k, v in net.encoder.model.state_dict().items() if k in given and v.shape == given[k].shape}
    assert len(found) > 20 and all(torch.equal(v, given[k]) for k, v in found.items())
    loaded = rethaw.build(
        "backbone", "timm.unet", Context(3, 3, initial=False), encoder="test_resnet", weights="gone.pth"
    )
    assert loaded.multiple == 16, "a trained run needs the file no more"


def test_pretrained_weights_come_from_the_cache_that_timm_fills(
    offline: None, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as huggingface_hub lays it out after a download; the weights are this test's own."""
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert cfg is not None
    repository = tmp_path / "hub" / f"models--{cfg.hf_hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    shutil.copy(weights, snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found, given = (
        unet("test_resnet", **how).encoder.state_dict() for how in ({"pretrained": True}, {"weights": str(weights)})
    )
    assert found.keys() == given.keys() and all(torch.equal(found[key], given[key]) for key in found)
    fresh = unet("test_resnet").encoder.state_dict()
    assert any(not torch.equal(found[key], fresh[key]) for key in found)


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went online"))
    unet("test_resnet")


def test_offline_it_says_which_file_to_put_where(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        RethawError, match=r"(?s)resnet10t.*model\.safetensors of timm/resnet10t\.c3_in1k.*weights: PATH"
    ):
        unet("resnet10t", pretrained=True)


@pytest.mark.parametrize(
    "params, told",
    [
        ({"encoder": "resnett10t"}, r"no model 'resnett10t'(?s:.*)Did you mean resnet10t"),
        ({"encoder": "qqqq"}, "no model 'qqqq'"),
        ({"encoder": "mixer_s16_224"}, "one size only"),
        ({"encoder": "vit_tiny_patch16_224", "stride": 4}, "no features at stride 4"),
        ({"encoder": "test_resnet", "weights": "nowhere.pth"}, "nowhere.pth is not a file"),
    ],
)
def test_mistakes_are_told(params: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError, match=told):
        unet(**params)


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(RethawError, match="does not hold weights of test_resnet"):
        unet("test_resnet", weights=str(tmp_path / "x.safetensors"))


def test_widths_that_do_not_divide_are_refused() -> None:
    with pytest.raises(RethawError, match="multiple of 4 and of heads"):
        rethaw.build("backbone", "timm.vit", Context(3, 3), width=100, heads=6)


# --- the conditioner --------------------------------------------------------------------------------------------------


def test_an_image_as_an_embedding(weights: Path) -> None:
    made = rethaw.build("conditioner", "timm.image", model="test_resnet", weights=str(weights))
    x: Tensor = images(3, 40, 24)
    cond = made.encode(list(x), x.device, None)
    assert cond["vector"].shape == (3, made.widths["vector"]) and not cond["vector"].requires_grad
    assert torch.allclose(cond["vector"][1:2], made.encode([x[1]], x.device, None)["vector"], atol=1e-5)
    assert (cond["vector"][0] - cond["vector"][1]).abs().max() > 1e-3
    assert made.null(cond)["vector"].abs().max() == 0
    grey = made.encode([x[0, :1]], x.device, None)["vector"]
    assert torch.allclose(grey, made.encode([x[0, :1].expand(3, -1, -1)], x.device, None)["vector"], atol=1e-5)


def test_an_embedding_needs_weights() -> None:
    with pytest.raises(RethawError, match="needs trained weights"):
        rethaw.build("conditioner", "timm.image", model="test_resnet")


def test_condition_is_as_wide_as_it_says() -> None:
    assert {key: value.shape[-1] for key, value in condition(2, 16, 16).items() if key == "vector"} == {
        "vector": COND["vector"]
    }
