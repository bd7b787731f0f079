"""Importers of third parties, and what an imported schedule needs of core: a table, spacings by level, another clip."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import Context, Imported, RethawError, hookimpl, importer
from rethaw.builtin.samplers.noise.spacing import spaced
from rethaw.claims import Claim
from rethaw.config import load_text
from rethaw.engine.importing import import_run
from rethaw.engine.sampling.walking import last
from rethaw.ops import read_weights
from rethaw.plugins import Plugins
from rethaw.registry import Registry

UNET = {"use": "core.unet", "width": 8, "multipliers": [1], "blocks": 1}
PIPELINE = {"version": 1, "degradation": {"use": "core.desaturate"}, "backbone": UNET}


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


def registry(monkeypatch: pytest.MonkeyPatch, **reads: Callable[[Path], Any]) -> Registry:
    """One with importers of these names, which know every .net file."""

    def made(read: Callable[[Path], Any]) -> type:
        class Theirs:
            def __init__(self, params: Nothing) -> None: ...

            def knows(self, source: Path) -> bool:
                return source.suffix == ".net"

            def read(self, source: Path) -> Any:
                return read(source)

        return Theirs

    module = types.ModuleType("their_importers")
    specs = [importer(n, Nothing, target=f"their_importers:{n}", summary="Theirs.", files=".net files") for n in reads]
    module.rethaw_importers = hookimpl(lambda: specs)  # type: ignore[attr-defined]
    for name, read in reads.items():
        setattr(module, name, made(read))
    monkeypatch.setitem(sys.modules, "their_importers", module)
    return Registry(Plugins(claims=[Claim("their", "their_importers", "their", "1", ("rethaw",))]))


def weights() -> dict[str, torch.Tensor]:
    made = rethaw.build("backbone", "core.unet", Context(3, 3), **{k: v for k, v in UNET.items() if k != "use"})
    return {key: torch.full_like(value, 0.01) for key, value in made.state_dict().items()}


def test_an_importer_of_a_third_party(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.net").touch()
    known = registry(monkeypatch, good=lambda path: Imported(PIPELINE, weights(), (3, 16, 16), (f"from {path.name}",)))
    _, notes = import_run(tmp_path / "x.net", tmp_path / "run", ["sampler.steps=3"], registry=known)
    run = rethaw.Pipeline.load(tmp_path / "run")
    assert notes == ("from x.net",) and run.config.sampler.params.steps == 3 and run.walker.image_shape == (3, 16, 16)
    assert all(bool((v == 0.01).all()) for v in run.walker.restorer.backbone.state_dict().values())


MANY: dict[str, Callable[[Path], Any]] = {
    "raises": lambda path: 1 / 0,
    "exits": lambda path: sys.exit(0),
    "nothing": lambda path: None,
    "rubbish": lambda path: Imported(3, {}),  # type: ignore[arg-type]
    "says": lambda path: (_ for _ in ()).throw(RethawError("it is not whole")),
    "yaml": lambda path: Imported({**PIPELINE, "degradation": {"use": "core.absent"}}, {}),
    "less": lambda path: Imported(PIPELINE, dict(list(weights().items())[1:])),
    "other": lambda path: Imported(PIPELINE, {k: v[:1] if v.dim() else v for k, v in weights().items()}),
}
TOLD = {
    "raises": "their.raises raised ZeroDivisionError reading",
    "exits": "their.exits raised SystemExit reading",
    "nothing": "read gave a NoneType",
    "rubbish": "does not keep its contract",
    "says": "it is not whole",
    "yaml": "core.absent",
    "less": "does not fit",
    "other": "does not fit",
}


@pytest.mark.parametrize("name", MANY)
def test_a_broken_importer_is_named_and_leaves_no_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "x.net").touch()
    with pytest.raises(RethawError, match=TOLD[name]):
        import_run(tmp_path / "x.net", tmp_path / "run", registry=registry(monkeypatch, **{name: MANY[name]}))
    assert not (tmp_path / "run").exists()


def test_which_importer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.net").touch()
    (tmp_path / "x.txt").touch()
    two = registry(monkeypatch, raises=MANY["raises"], says=MANY["says"])
    with pytest.raises(RethawError, match=r"(?s)their\.raises or their\.says can read.*--importer their\.raises"):
        import_run(tmp_path / "x.net", tmp_path / "run", registry=two)
    with pytest.raises(RethawError, match="it is not whole"):
        import_run(tmp_path / "x.net", tmp_path / "run", by="their.says", registry=two)
    told = r"(?s)no importer.*their\.raises reads \.net files.*pip install rethaw-spandrel"
    with pytest.raises(RethawError, match=told):
        import_run(tmp_path / "x.txt", tmp_path / "run", registry=two)


def test_an_override_that_is_none_leaves_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.net").touch()
    good = registry(monkeypatch, good=lambda path: Imported(PIPELINE, weights()))
    with pytest.raises(RethawError, match="smapler"):
        import_run(tmp_path / "x.net", tmp_path / "run", ["smapler.steps=3"], registry=good)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_that_are_not_there_are_told(ending: str, tmp_path: Path) -> None:
    with pytest.raises(RethawError, match=rf"x\{ending} cannot be read as weights"):
        read_weights(tmp_path / f"x{ending}")


# --- what a schedule of others needs ----------------------------------------------------------------------------------


def test_a_table_is_taken_value_by_value() -> None:
    table = [0.9, 0.7, 0.7, 0.123456789, 0.0]
    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar=table, levels=5)
    t = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.61], dtype=torch.float64)
    α, σ = noise.coefficients(t)
    expected = torch.tensor([1.0, *table, table[3]], dtype=torch.float64)
    assert torch.equal(α, expected.sqrt()) and torch.allclose(σ, (1 - expected).sqrt())


@pytest.mark.parametrize(
    "given, told",
    [
        ({"alpha_bar": [0.9, 0.5]}, "levels: 2"),
        ({"alpha_bar": [0.9, 0.5], "levels": 3}, "levels: 2"),
        ({"alpha_bar": [0.9, 0.5], "levels": 2, "process": "ve"}, "process: vp"),
        ({"alpha_bar": [0.5, 0.9], "levels": 2}, "must not rise"),
        ({"alpha_bar": [1.5, 0.9], "levels": 2}, "alpha_bar"),
        ({"alpha_bar": "magic"}, "alpha_bar"),
    ],
)
def test_a_table_that_is_none_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError, match=told):
        rethaw.build("degradation", "core.gaussian_noise", **given)


@pytest.mark.parametrize(
    "spacing, steps, levels",
    [
        ("leading", 4, [751, 501, 251, 1, 0]),
        ("linspace", 4, [1000, 667, 334, 1, 0]),
        ("uniform", 4, [1000, 750, 500, 250, 0]),
        ("leading", 3, [667, 334, 1, 0]),
    ],
)
def test_spacings_of_2305_08891(spacing: str, steps: int, levels: list[int]) -> None:
    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="linear", levels=1000)
    t = spaced(noise, spacing, steps)
    assert torch.allclose(t * 1000, torch.tensor(levels, dtype=torch.float64))
    assert torch.allclose(spaced(noise, spacing, steps, 0.5), t / 2)
    assert len(spaced(noise, spacing, 5000)) == (5001 if spacing == "uniform" else 1001)


def test_a_spacing_by_level_wants_levels() -> None:
    with pytest.raises(RethawError, match="spacing: leading is between levels"):
        spaced(rethaw.build("degradation", "core.gaussian_noise"), "leading", 4)


@pytest.mark.parametrize("clip, largest", [("clip: true", 1.0), ("clip_range: 0.25", 0.25), ("clip: false", None)])
def test_estimates_are_clipped_to_the_range_that_is_asked_for(clip: str, largest: float | None) -> None:
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling.walking import Walker

    text = f"version: 1\ndegradation: {{use: core.gaussian_noise}}\nrestorer: {{{clip}, prediction: eps}}\n"
    parts = Pipeline(
        *load_text(text + "sampler: {use: core.ddim, steps: 3}\nbackbone: {width: 8, multipliers: [1]}")
    ).parts
    walker = Walker(parts, parts.restorer().eval(), {}, (3, 8, 8))
    x = 3 * torch.ones(1, 3, 8, 8)
    found = float(last(walker.trajectory(x, 1.0)).x.abs().max())
    assert found == pytest.approx(largest) if largest else found > 1


def test_eps_divides_by_the_alpha_of_a_table_and_not_by_that_of_a_curve_that_vanishes() -> None:
    from rethaw.engine.pipeline import Pipeline

    text = "version: 1\nrestorer: {prediction: eps}\ndegradation: {use: core.gaussian_noise"
    x, t, out = torch.ones(1, 3, 2, 2), torch.ones(1), torch.zeros(1, 3, 2, 2)
    table = Pipeline(*load_text(f"{text}, levels: 2, alpha_bar: [0.5, 1.0e-8]}}")).parts.parameterization
    curve = Pipeline(*load_text(f"{text}, alpha_bar: cosine}}")).parts.parameterization
    assert float(table.read(out, x, t).x0.max()) == pytest.approx(1e4)
    assert float(curve.read(out, x, t).x0.max()) == pytest.approx(1e3)
