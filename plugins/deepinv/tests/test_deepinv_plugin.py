"""deepinv's denoisers with random weights: as runs they give what deepinv's own call gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deepinv
import pytest
import torch
from safetensors.torch import save_file

import rethaw
from rethaw.api import Context, RethawError
from rethaw.config.components import parse_component
from rethaw.engine.importing import import_run
from rethaw.registry import Registry
from rethaw.testing import backbone_tests

SMALL: dict[str, dict[str, Any]] = {
    "DRUNet": {"nc": [8, 8, 8, 8], "nb": 1},
    "DnCNN": {"depth": 4, "nf": 8},
    "FFDNet": {"n_conv_layers": 4, "nf": 8},
    "SCUNet": {"config": [1] * 7, "dim": 64},
    "SwinIR": {"depths": [2], "num_heads": [2], "embed_dim": 12, "img_size": 32},
    "Restormer": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
}
QUICK = ("DRUNet", "DnCNN", "FFDNet", "Restormer")
CHANNELS = {"FFDNet": {"img_channels": 3}, "SCUNet": {"in_nc": 3}, "SwinIR": {"in_chans": 3}}

TestDenoiser = backbone_tests(
    "deepinv.denoiser", {"model": "DnCNN", "options": SMALL["DnCNN"]}, {"options": SMALL["DRUNet"]}
)


def network(model: str) -> Any:
    torch.manual_seed(0)
    made = getattr(deepinv.models, model)(pretrained=None, **CHANNELS.get(model, {}), **SMALL[model]).eval()
    for p in made.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return made


def importer(**given: Any) -> Any:
    return parse_component("deepinv.denoiser", "importer", Registry(), given)


@pytest.mark.parametrize("model", [m if m in QUICK else pytest.param(m, marks=pytest.mark.long) for m in SMALL])
def test_a_run_gives_what_deepinv_gives(model: str, tmp_path: Path) -> None:
    own, file = network(model), tmp_path / "weights.pth"
    torch.save(own.state_dict(), file)
    import_run(str(file), tmp_path / "run", by=importer(model=model, options=SMALL[model], sigma_max=0.5))
    run = rethaw.Pipeline.load(tmp_path / "run")
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for severity in (0.3, 1.0):
        y, state = run.degrade(clean, severity)
        σ = float(run.parts.degradation.coefficients(torch.tensor([severity]))[1])
        assert ((y - clean) - σ * state["z"]).abs().max() < 1e-5
        with torch.no_grad():
            expected = (own((y + 1) / 2, σ / 2) * 2 - 1).clamp(-1, 1)
        assert expected.std() > 0.01 and (run.restore(y, severity) - expected).abs().max() < 1e-5
    assert float(run.parts.degradation.coefficients(torch.ones(1))[1]) == pytest.approx(0.5, rel=2e-3)
    odd = run.restore(clean[..., :37, :51], 0.5)
    assert odd.shape == (2, 3, 37, 51) and torch.isfinite(odd).all()


def test_grey_images_and_safetensors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = deepinv.models.DRUNet(1, 1, pretrained=None, **SMALL["DRUNet"]).eval()
    save_file(own.state_dict(), tmp_path / "grey.safetensors")
    walker, _ = import_run(
        str(tmp_path / "grey.safetensors"), tmp_path / "run", by=importer(options=SMALL["DRUNet"], channels=1)
    )
    assert walker.parts.config.restorer.channels == 1


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went online"))
    for model in QUICK:
        rethaw.build("backbone", "deepinv.denoiser", Context(3, 3), model=model, options=SMALL[model])


@pytest.mark.parametrize(
    "given, told",
    [
        ({"model": "BM3D"}, "model"),
        ({"options": {"nc": 7}}, "make no DRUNet"),
        ({"options": {"pretrained": "download"}}, "pretrained is set already"),
        ({"sigma_max": 0.001}, "must be below"),
        ({"path": "nowhere.pth", "options": SMALL["DRUNet"]}, "cannot be read as weights"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError, match=told):
        rethaw.build("backbone", "deepinv.denoiser", Context(3, 3), **given)


def test_weights_of_another_network_and_pickles_are_refused(tmp_path: Path) -> None:
    torch.save(network("DnCNN").state_dict(), tmp_path / "dncnn.pth")
    torch.save(network("DnCNN"), tmp_path / "whole.pth")
    torch.save({"state_dict": [1]}, tmp_path / "list.pth")
    for file, told in (("dncnn", "not hold the weights of this DRUNet"), ("whole", "run code"), ("list", "by name")):
        with pytest.raises(RethawError, match=told):
            import_run(str(tmp_path / f"{file}.pth"), tmp_path / "run", by=importer(options=SMALL["DRUNet"]))
