"""The metrics: peers on the same features, any batches, intervals, labels, too few images, untouched inputs."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backbones import images as crops
from torch import Tensor, nn

import rethaw
from rethaw.api import Figure, RethawError, figure
from rethaw_perceptual.features import extractor
from rethaw_perceptual.plugin import Features

FEATURES = ("fid", "kid", "feature_distance")
BACKBONES = {
    "alex": ("alexnet", "alexnet-owt-7be5be79.pth"),
    "squeeze": ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"),
    "vgg": ("vgg16", "vgg16-397923af.pth"),
}


def lite0(name: str, size: int = 32, **params: Any) -> Any:
    """A metric of EfficientNet-Lite0's features, of images small enough for a quick test."""
    return rethaw.build("metric", f"perceptual.{name}", features="lite0", size=size, **params)


def pairs(count: int = 12, side: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Photographs with noise on them, and without."""
    clean = crops(count, side, side, seed)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return (clean + 0.2 * noise).clamp(-1, 1), clean


def measured(meter: Any, restored: Tensor, clean: Tensor) -> Figure:
    meter.update(restored, clean)
    return figure(meter, "id")


def random_weights(net: str, folder: Path) -> nn.Module:
    """Puts random weights of a network where torchvision keeps its published ones; the classifier's take no room."""
    name, file = BACKBONES[net]
    torch.manual_seed(0)
    with torch.device("meta"):
        model: nn.Module = getattr(torchvision.models, name)()
    state = {
        key: 0.1 * torch.randn(p.shape) if key.startswith("features") else torch.zeros(()).expand(p.shape)
        for key, p in model.state_dict().items()
    }
    torch.save(state, folder / file)
    features: nn.Module = model.features.to_empty(device="cpu")  # type: ignore[operator, union-attr]
    features.load_state_dict({k.removeprefix("features."): v for k, v in state.items() if k.startswith("features")})
    return features.eval()


# --- peers ------------------------------------------------------------------------------------------------------------


def test_fid_and_kid_are_those_of_torchmetrics_on_the_same_features() -> None:
    from torchmetrics.image import FrechetInceptionDistance, KernelInceptionDistance

    restored, clean = pairs(10)
    network = extractor(Features("lite0", size=32)).network
    fid = FrechetInceptionDistance(feature=network).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=network, subsets=1, subset_size=10)
    for peer in (fid, kid):
        for real, batch in ((True, clean), (False, restored)):
            peer.update(batch, real=real)
    assert measured(lite0("fid"), restored, clean).value == pytest.approx(float(fid.compute()), rel=1e-3)
    assert measured(lite0("kid"), restored, clean).value == pytest.approx(float(kid.compute()[0]), rel=1e-3)
    subsets = measured(lite0("kid", subsets=2), restored, clean)
    assert subsets.value == pytest.approx(float(kid.compute()[0]), rel=1e-3), "two subsets of all images"


def test_feature_distance_is_one_minus_the_cosine() -> None:
    restored, clean = pairs(5)
    a, b = (extractor(Features("lite0", size=32))(x).double() for x in (restored, clean))
    cosines = [float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)]
    assert measured(lite0("feature_distance"), restored, clean).value == pytest.approx(1 - sum(cosines) / 5, rel=1e-4)


@pytest.mark.parametrize("net", BACKBONES)
def test_lpips_is_that_of_its_authors_on_the_same_network(net: str, hub: Path) -> None:
    package = pytest.importorskip("lpips")
    features = random_weights(net, hub)
    theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    for slice_ in (m for name, m in theirs.net.named_children() if name.startswith("slice")):
        for index, layer in slice_.named_children():
            layer.load_state_dict(features[int(index)].state_dict())  # type: ignore[index]
    restored, clean = pairs(4, 64)
    meter = rethaw.build("metric", "perceptual.lpips", net=net)
    with torch.no_grad():
        expected = float(theirs(restored, clean).mean())
    assert expected > 0 and measured(meter, restored, clean).value == pytest.approx(expected, rel=1e-3)


def test_dists_is_its_definition(hub: Path) -> None:
    """2004.07728, eq. 6 to 9, on torchvision's layers, with L2 pooling by a Hann window and the published weights."""
    from torchmetrics.functional.image import dists

    features, (restored, clean) = random_weights("vgg", hub), pairs(3, 48)
    published = torch.load(Path(dists.__file__).parent / "dists_models" / "weights.pt", weights_only=True)
    alpha, beta = (published[key].flatten() for key in ("alpha", "beta"))
    ramp = torch.tensor([0.25, 0.5, 0.25])
    stages, total, at = [4, 9, 16, 23, 30], torch.zeros(3), 0

    def maps(x: Tensor) -> list[Tensor]:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        unit = (x + 1) / 2
        h, found = (unit - mean) / std, [unit]
        for i, layer in enumerate(features.children()):
            if isinstance(layer, nn.MaxPool2d) and i < 30:
                window = (ramp[:, None] * ramp).expand(h.shape[1], 1, 3, 3)
                h = (nn.functional.conv2d(h**2, window, stride=2, padding=1, groups=h.shape[1]) + 1e-12).sqrt()
            elif i < 30:
                h = layer(h.clone())
            if i + 1 in stages:
                found.append(h)
        return found

    for x, y in zip(maps(restored), maps(clean), strict=True):
        own = slice(at, at + x.shape[1])
        mx, my = x.mean((2, 3)), y.mean((2, 3))
        cov = (x * y).mean((2, 3)) - mx * my
        texture = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
        structure = (2 * cov + 1e-6) / (x.var((2, 3), correction=0) + y.var((2, 3), correction=0) + 1e-6)
        total += texture @ alpha[own] + structure @ beta[own]
        at += x.shape[1]
    expected = 1 - total / (alpha.sum() + beta.sum())
    meter = rethaw.build("metric", "perceptual.dists")
    assert measured(meter, restored, clean).value == pytest.approx(float(expected.detach().mean()), rel=1e-3)


# --- what holds of all ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[*FEATURES, "lpips", "dists"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TORCH_HOME with random weights of two networks."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    for net in ("squeeze", "vgg"):
        random_weights(net, home / "hub" / "checkpoints")
    return home


@pytest.fixture
def make(name: str, stocked: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds the metric anew."""
    monkeypatch.setenv("TORCH_HOME", str(stocked))
    if name in FEATURES:
        return lambda: lite0(name)
    params = {"net": "squeeze"} if name == "lpips" else {}
    return lambda: rethaw.build("metric", f"perceptual.{name}", **params)


RESTORED, CLEAN = pairs(7)


@settings(max_examples=3, deadline=None)
@given(cuts=st.lists(st.integers(1, 6), unique=True, max_size=3))
@pytest.mark.parametrize("name", FEATURES)
def test_any_batches_give_the_same_figure(name: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), 7]
    whole, parts = lite0(name), lite0(name)
    whole.update(RESTORED, CLEAN)
    for a, b in pairwise(bounds):
        parts.update(RESTORED[a:b], CLEAN[a:b])
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-4)
    assert parts.interval() == pytest.approx(whole.interval(), rel=1e-3)
    assert parts.images == whole.images == 7


def test_a_batch_of_one_and_batches_of_other_sizes(make: Any) -> None:
    whole, parts = make(), make()
    whole.update(RESTORED, CLEAN)
    for i in range(7):
        parts.update(RESTORED[i : i + 1], CLEAN[i : i + 1])
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-3)
    assert parts.interval() == pytest.approx(whole.interval(), rel=1e-3)
    parts.update(*pairs(2, 40))
    assert parts.images == 9 and math.isfinite(parts.compute())


def test_the_figure_goes_on_after_it_was_asked(make: Any) -> None:
    whole, asked = make(), make()
    whole.update(RESTORED, CLEAN)
    for part in (slice(4), slice(4, 7)):
        asked.update(RESTORED[part], CLEAN[part])
        asked.compute(), asked.interval()
    assert asked.compute() == pytest.approx(whole.compute(), rel=1e-4)


def test_it_leaves_its_images_and_the_random_state_untouched(make: Any) -> None:
    before, given = torch.random.get_rng_state(), (RESTORED.clone(), CLEAN.clone())
    meter = make()
    meter.update(RESTORED.requires_grad_(), CLEAN)
    meter.compute(), meter.interval()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(RESTORED, given[0]) and torch.equal(CLEAN, given[1]) and RESTORED.grad is None


def test_a_figure_names_its_features_and_says_how_sure_it_is(make: Any, name: str) -> None:
    found = measured(make(), RESTORED, CLEAN)
    assert found.label.startswith(f"{name} (") and found.images == 7
    assert found.interval is not None and found.interval[0] <= found.value <= found.interval[1]
    assert found == measured(make(), RESTORED, CLEAN), "the same every time"
    assert (name == "fid") == bool(found.note), "seven images are fewer than the features"


def test_worse_is_more_and_the_same_is_none(make: Any) -> None:
    clean = crops(8)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    values = [measured(make(), (clean + s * noise).clamp(-1, 1), clean).value for s in (0.0, 0.2, 0.6)]
    assert values == sorted(values) and values[0] < 1e-6 and not make().higher_is_better


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_no_figure_and_no_crash(make: Any, name: str, count: int) -> None:
    meter = make()
    meter.update(RESTORED[:count], CLEAN[:count])
    found = figure(meter, "id")
    assert found.images == count and found.interval is not None
    assert math.isnan(found.value) == (count < (2 if name in ("fid", "kid") else 1))


def test_broken_images_give_no_figure_and_no_crash(make: Any) -> None:
    broken = RESTORED.detach().clone()
    broken[2] = float("nan")
    assert math.isnan(measured(make(), broken, CLEAN).value)


def test_grey_images(make: Any) -> None:
    x, y = RESTORED.detach()[:, :1], CLEAN[:, :1]
    colour = measured(make(), x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)).value
    assert measured(make(), x, y).value == pytest.approx(colour, rel=1e-5)


@pytest.mark.cuda
def test_on_a_gpu(make: Any) -> None:
    found = measured(make(), RESTORED.detach().cuda(), CLEAN.cuda())
    assert found.value == pytest.approx(measured(make(), RESTORED.detach(), CLEAN).value, rel=1e-2)


def test_labels_keep_what_cannot_be_compared_apart(hub: Path) -> None:
    random_weights("squeeze", hub)
    made = [
        rethaw.build("metric", "perceptual.kid", features="lite0"),
        lite0("kid", 64),
        lite0("kid", 96, estimator="u_statistic"),
        lite0("fid", 96),
        rethaw.build("metric", "perceptual.lpips", net="squeeze"),
        rethaw.build("metric", "perceptual.lpips", net="squeeze", size=64),
    ]
    labels = [meter.label for meter in made]
    assert labels[:4] == ["kid (lite0@96)", "kid (lite0@64)", "kid u-statistic (lite0@96)", "fid (lite0@96)"]
    assert labels[4].startswith("lpips (squeeze:") and labels[5] != labels[4]


def test_images_that_are_too_small_for_lpips_say_what_to_do(hub: Path) -> None:
    random_weights("alex", hub)
    x = crops(1, 16, 16)
    with pytest.raises(RethawError, match=r"(?s)lpips \(alex:.*16×16.*size: 64"):
        rethaw.build("metric", "perceptual.lpips").update(x, x)
    assert measured(rethaw.build("metric", "perceptual.lpips", size=64), x, x).value == 0


def test_metrics_that_say_nothing_of_themselves_have_figures_too() -> None:
    class Bare:
        higher_is_better = True

        def update(self, restored: Tensor, clean: Tensor) -> None: ...

        def compute(self) -> float:
            return 3.0

    assert figure(Bare(), "bare") == Figure("bare", 3.0, higher_is_better=True)
    assert measured(rethaw.build("metric", "core.psnr"), RESTORED.detach(), CLEAN)[0:3:2] == ("id", 7)
