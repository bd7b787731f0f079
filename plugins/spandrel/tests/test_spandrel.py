"""Checkpoints that spandrel has made itself: as runs they give what its own call gives."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from spandrel import ModelLoader
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DnCNN import DnCNN
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.LaMa import LaMa
from spandrel.architectures.NAFNet import NAFNet
from spandrel.architectures.RealCUGAN import UpCunet2x
from spandrel.architectures.SCUNet import SCUNet
from spandrel.architectures.SPAN import SPAN
from spandrel.architectures.SwinIR import SwinIR
from tests.helpers import photos
from torch import Tensor, nn

import rethaw
from rethaw.api import Context, RethawError
from rethaw.engine.importing import import_run
from rethaw.engine.restorer.tiles import tiled
from rethaw.testing import backbone_tests, degradation_tests

SWIN: dict[str, Any] = {"window_size": 8, "embed_dim": 12, "mlp_ratio": 2, "resi_connection": "1conv"}
MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "RRDB 4": (lambda: ESRGAN(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4), 4),
    "RRDB 2": (lambda: ESRGAN(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=2), 2),
    "RRDB plus 2": (lambda: ESRGAN(in_nc=12, out_nc=3, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2), 2),
    "Compact 1": (lambda: Compact(num_feat=8, num_conv=2, upscale=1), 1),
    "Compact 4": (lambda: Compact(num_feat=8, num_conv=2, upscale=4), 4),
    "SwinIR 1": (lambda: SwinIR(upscale=1, img_size=64, depths=[2], num_heads=[2], upsampler="", **SWIN), 1),
    "SwinIR 4": (
        lambda: SwinIR(upscale=4, img_size=64, depths=[2, 2], num_heads=[2, 2], upsampler="nearest+conv", **SWIN),
        4,
    ),
    "NAFNet": (lambda: NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]), 1),
    "SCUNet": (lambda: SCUNet(in_nc=3, config=[1] * 7, dim=64), 1),
    "SPAN 2": (lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=12, upscale=2), 2),
    "DnCNN": (lambda: DnCNN(in_nc=3, out_nc=3, nc=8, nb=4), 1),
    "RealCUGAN 2": (lambda: UpCunet2x(in_channels=3, out_channels=3), 2),
}
QUICK = ("RRDB 4", "RRDB plus 2", "Compact 1", "Compact 4", "SwinIR 4", "NAFNet")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in MODELS]

TestModel = backbone_tests("spandrel.model", {"hyperparameters": {"num_feat": 8, "num_conv": 2, "upscale": 2}})
TestUnknown = degradation_tests("spandrel.unknown", {}, skip={"grows"})


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    made = MODELS[name][0]().eval()
    for p in made.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return made


def saved(folder: Path, name: str, ending: str = ".safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path, state = folder / f"model{ending}", network(name).state_dict()
    if ending == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save({"params_ema": state, "step": 7}, path)
    return path


def theirs(path: Path, small: Tensor) -> Tensor:
    """spandrel's own call, on images in [-1, 1]."""
    return ModelLoader().load_from_file(path).eval()((small + 1) / 2).clone() * 2 - 1


def enlarged(small: Tensor, scale: int) -> Tensor:
    return small.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_gives_what_spandrel_gives(name: str, tmp_path: Path) -> None:
    scale = MODELS[name][1]
    path = saved(tmp_path, name)
    walker, notes = import_run(str(path), tmp_path / "run")
    assert notes and walker.parts.config.sampler.use == "core.direct"
    loaded = rethaw.Pipeline.load(tmp_path / "run")
    assert loaded.walker.restorer.backbone.scale == scale
    for height, width in ((16, 24), (19, 33)):
        small = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
        expected = theirs(path, small)
        assert expected.std() > 0.01, "the network says nothing, so the test does not"
        assert (loaded.restore(small) - expected).abs().max() < 1e-5
        assert (loaded.restore(enlarged(small, scale), enlarge=1) - expected).abs().max() < 1e-5
    x = torch.rand(2, 3, 35, 22, generator=torch.Generator().manual_seed(1)) * 2 - 1
    restored = loaded.restore(x, enlarge=1)
    assert restored.shape == x.shape and (loaded.restore(x[1:], enlarge=1) - restored[1:]).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["Compact 4", "Compact 1"])
def test_tiles_are_the_whole_picture_away_from_borders(name: str, tmp_path: Path) -> None:
    scale = MODELS[name][1]
    path = saved(tmp_path, name)
    run = rethaw.Pipeline.load(run_of(path, tmp_path / "run"), ["restorer.tile=64"])
    small = torch.rand(1, 3, 150 // scale, 131 // scale, generator=torch.Generator().manual_seed(0)) * 2 - 1
    restored, whole = run.restore(small), theirs(path, small)
    parts = tiled(run.walker.restorer, enlarged(small, scale), torch.ones(1), {}, (64, 64)).clamp(-1, 1)
    assert (restored - parts).abs().max() < 1e-5
    assert (restored - whole).abs().max() < 0.1
    assert (restored - whole)[..., :28, :20].abs().max() < 1e-5, (
        "there the first tile is alone, and sees all that counts"
    )


def run_of(path: Path, folder: Path) -> Path:
    import_run(str(path), folder)
    return folder


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin"])
def test_checkpoints_of_torch(ending: str, tmp_path: Path) -> None:
    one, other = (
        import_run(str(saved(tmp_path / e, "Compact 4", e)), tmp_path / f"run{e}")[0] for e in (ending, ".safetensors")
    )
    a, b = one.restorer.state_dict(), other.restorer.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_network_that_enlarges_undoes_pixelation_and_others_one_step_only(tmp_path: Path) -> None:
    picture = photos(tmp_path / "photos", 1) / "0.png"
    large = rethaw.Pipeline.load(run_of(saved(tmp_path, "Compact 4"), tmp_path / "large"))
    assert large.config.degradation[0].params.block_max == 4
    assert large.restore(picture).pixels.shape == (3, 128, 160) and large.restore(picture, enlarge=1).pixels.shape == (
        3,
        32,
        40,
    )
    same = rethaw.Pipeline.load(run_of(saved(tmp_path, "Compact 1"), tmp_path / "same"))
    assert same.restore(picture).pixels.shape == (3, 32, 40)
    with pytest.raises(RethawError, match=r"(?s)state is not known.*core\.direct"):
        same.restore(picture, sampler="core.cold")
    known = rethaw.Pipeline.load(tmp_path / "same", ["degradation={use: kornia.jpeg}"])
    assert known.degrade(torch.zeros(1, 3, 16, 16))[0].shape == (1, 3, 16, 16)


def test_a_pipeline_of_a_file_needs_no_run(tmp_path: Path) -> None:
    path, picture = saved(tmp_path, "Compact 4"), photos(tmp_path / "photos", 1) / "0.png"
    (tmp_path / "my.yaml").write_text(
        "version: 1\ndegradation: {use: kornia.pixelate, block_max: 4}\nsampler: {use: core.direct}\n"
        f"backbone: {{use: spandrel.model, path: {path}}}\n"
    )
    made, run = rethaw.Pipeline.load(tmp_path / "my.yaml"), rethaw.Pipeline.load(run_of(path, tmp_path / "run"))
    assert torch.equal(made.restore(picture).pixels, run.restore(picture, enlarge=1).pixels)


@pytest.mark.long
def test_holes_are_filled_as_spandrel_fills_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(LaMa(in_nc=4, out_nc=3).eval().state_dict(), tmp_path / "lama.safetensors")
    run = rethaw.Pipeline.load(run_of(tmp_path / "lama.safetensors", tmp_path / "run"))
    x = torch.rand(2, 3, 33, 40) * 1.8 - 0.9
    mask = torch.zeros(2, 1, 33, 40)
    mask[0, :, 4:20, 7:30], mask[1, :, :12, :] = 1, 1
    holed = torch.where(mask > 0, -1.0, x)
    restored = run.restore(holed, state={"mask": mask})
    model = ModelLoader().load_from_file(tmp_path / "lama.safetensors").eval()
    for i in range(2):
        with torch.no_grad():
            expected = model((holed[i : i + 1] + 1) / 2, mask[i : i + 1]) * 2 - 1
        assert (restored[i] - expected[0]).abs().max() < 1e-5
    assert (restored - x)[mask.expand_as(x) == 0].abs().max() < 1e-6


# --- hostile and broken files -----------------------------------------------------------------------------------------


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def scripted(path: Path) -> None:
    torch.jit.script(nn.Conv2d(3, 3, 1)).save(str(path))


def cut(path: Path) -> None:
    whole = saved(path.parent / "whole", "Compact 4", path.suffix)
    path.write_bytes(whole.read_bytes()[:-500])


def other_shapes(path: Path) -> None:
    state = network("Compact 4").state_dict()
    state["body.2.weight"] = state["body.2.weight"][:3].clone()
    save_file(state, path)


HOSTILE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "pickle": ("x.pth", lambda p: p.write_bytes(pickle.dumps(Evil(p.parent / "pwned"))), "run code"),
    "torch": ("x.pth", lambda p: torch.save({"params": Evil(p.parent / "pwned")}, p), "run code"),
    "old": (
        "x.ckpt",
        lambda p: torch.save([Evil(p.parent / "pwned")], p, _use_new_zipfile_serialization=False),
        "run code",
    ),
    "module": ("x.pt", lambda p: torch.save(nn.Conv2d(3, 3, 1), p), "run code"),
    "script": ("x.pt", scripted, "cannot be read as weights|run code"),
    "empty": ("x.pth", lambda p: p.write_bytes(b""), "cannot be read as weights"),
    "text": ("x.safetensors", lambda p: p.write_text("nothing of the kind"), "cannot be read as weights"),
    "cut": ("x.safetensors", cut, "cannot be read as weights"),
    "cut torch": ("x.pth", cut, "cannot be read as weights"),
    "no names": ("x.pth", lambda p: torch.save([torch.zeros(3)], p), "holds a list"),
    "no tensors": ("x.pth", lambda p: torch.save({"a": "b"}, p), "no weights by name"),
    "nothing": ("x.safetensors", lambda p: save_file({}, p), "no weights by name"),
    "unknown": ("x.safetensors", lambda p: save_file({"a": torch.zeros(3)}, p), "knows no architecture"),
    "shapes": ("x.safetensors", other_shapes, "do not fit the architecture"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_broken_files_are_refused_in_words(name: str, tmp_path: Path) -> None:
    file, act, told = HOSTILE[name]
    act(tmp_path / file)
    with pytest.raises(RethawError, match=told):
        import_run(str(tmp_path / file), tmp_path / "run")
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given, told",
    [
        ({"architecture": "Magic"}, "no architecture 'Magic'(?s:.*)SwinIR"),
        ({"network": "Magic"}, "no network 'Magic'(?s:.*)SRVGGNetCompact"),
        ({"hyperparameters": {"num_feat": "x"}}, "make no SRVGGNetCompact"),
        ({"hyperparameters": {"wide": 3}}, "make no SRVGGNetCompact"),
        ({"hyperparameters": {"num_in_ch": 1, "num_out_ch": 1}}, "restorer.channels=1"),
        ({"path": "nowhere.pth"}, "cannot be read as weights"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError, match=told):
        rethaw.build("backbone", "spandrel.model", Context(3, 3), **given)
