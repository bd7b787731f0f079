"""Evaluation over a grid of settings: by the definition, degraded once, refused row by row, told in full."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import rethaw
from rethaw.api import Figure, RethawError, figure
from rethaw.cli.main import app
from rethaw.config.model import Consistency
from rethaw.engine.evaluation import evaluate as engine
from rethaw.engine.evaluation import subjects
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.evaluation.grid import grid
from rethaw.engine.evaluation.metrics import measuring
from rethaw.engine.evaluation.report import Report, Row
from rethaw.engine.parts import Parts
from rethaw.engine.sampling.how import How
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.worlds import with_network

BLUR = "{use: kornia.gaussian_blur, sigma_max: 2.0}"
CONSISTENCY = {"off": None, "on": Consistency(weight=0.01)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs of two sizes and two runs: of a linear degradation, and of one that is not."""
    folder = tmp_path_factory.mktemp("evaluation")
    photos(folder / "photos", 5)
    photos(folder / "photos" / "small", 3, (24, 20))
    for name, degradation in (("blur", BLUR), ("jpeg", "{use: kornia.jpeg}")):
        pipeline = rethaw.Pipeline.from_yaml(recipe(folder, folder / "photos", degradation))
        with_network(pipeline, image_shape=(3, 16, 16)).save(folder / name)
    return folder


@pytest.fixture
def files(place: Path) -> list[Path]:
    return sorted((place / "photos").rglob("*.png"))


@pytest.fixture
def blur(place: Path) -> rethaw.Pipeline:
    return rethaw.Pipeline.load(place / "blur", ["metrics=[core.rmse, core.psnr]"])


def test_every_combination_is_a_row_with_what_restoring_so_gives(
    place: Path, blur: rethaw.Pipeline, files: list[Path]
) -> None:
    rows, files = grid(blur.walker, ["core.direct", "core.cold"], [1, 3], CONSISTENCY), files[3:6]
    assert list(rows) == [
        *("core.direct", "core.direct, consistency on", "core.cold 1 step", "core.cold 3 steps"),
        *("core.cold 1 step, consistency on", "core.cold 3 steps, consistency on"),
    ]
    report = evaluate(blur.walker, files, rows)
    clean = [blur.tensor(file)[None] for file in files]
    seen = [blur.degrade(x0, seed=i)[0] for i, x0 in enumerate(clean)]
    kept = rethaw.Pipeline.load(place / "blur", ["consistency.weight=0.01"])
    for name in rows:
        pipeline, options = kept if "on" in name.split() else blur, {"sampler": name.partition(",")[0].split()[0]}
        steps = next((int(word) for word in name.split() if word.isdecimal()), None)
        restored = [pipeline.restore(y, 1.0, steps=steps, **options) for y in seen]
        errors = [((x.clamp(-1, 1) - x0) / 2).square().mean() for x, x0 in zip(restored, clean, strict=True)]
        assert report.rows[name]["rmse"] == pytest.approx(math.sqrt(np.mean(errors)), rel=1e-4), name


def test_images_are_degraded_once_and_restored_together(
    blur: rethaw.Pipeline, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    degrade = Parts.degrade

    def counted(self: Parts, x0: torch.Tensor, *args: Any) -> Any:
        counts.append(len(x0))
        return degrade(self, x0, *args)

    monkeypatch.setattr(Parts, "degrade", counted)
    rows = grid(blur.walker, ["core.direct", "core.naive", "core.cold"], [2, 3])
    together = evaluate(blur.walker, files, rows)
    assert counts == [5, 3], "one batch for each size"
    monkeypatch.setattr(subjects, "PIXELS", 1)
    single = evaluate(blur.walker, files, rows)
    assert counts[2:] == [1] * 8
    for name, values in together.rows.items():
        assert values == pytest.approx(single.rows[name], rel=1e-4)
    assert together.images == single.images == 8


def test_what_cannot_be_done_is_told_row_by_row(place: Path, files: list[Path]) -> None:
    walker = rethaw.Pipeline.load(place / "jpeg").walker
    rows = grid(walker, ["core.direct", "core.cold", "core.ddrm"], [1, 2], CONSISTENCY)
    report = evaluate(walker, files, rows)
    left = ["degraded", "core.direct", "core.cold 1 step", "core.cold 2 steps"]
    assert list(report.rows) == left and set(report.refused) == set(rows) - set(left)
    assert "kornia.jpeg" in report.refused["core.direct, consistency on"]
    assert "measurement" in report.refused["core.ddrm 1 step"]
    told = "\n".join(report.notes)
    assert told.count("neither svd nor adjoint") == 1 and "core.cold 2 steps, consistency on" in told
    alone = evaluate(walker, files, {name: rows[name] for name in left[1:]})
    assert report.rows == alone.rows
    with pytest.raises(RethawError, match="neither svd nor adjoint"):
        evaluate(walker, files, grid(walker, ["core.direct"], consistencies={"on": Consistency()}))


def test_a_contestant_that_fails_later_is_left_out(blur: rethaw.Pipeline, files: list[Path]) -> None:
    """A sampler that can restore the first size of images only."""

    class Breaks(type(blur.walker)):  # type: ignore[misc]
        def restoration(self, y: torch.Tensor, *args: Any, **options: Any) -> Any:
            if y.shape[-1] == 24:
                raise RethawError("not at this size")
            return super().restoration(y, *args, **options)

    bad = Contestant(Breaks(**vars(blur.walker)), How("core.direct"))
    report = evaluate(blur.walker, files, {"bad": bad, "good": Contestant(blur.walker, How("core.direct"))})
    assert report.refused == {"bad": "not at this size"} and report.table["good"].images == 8


def test_progress_counts_the_images_of_every_row(blur: rethaw.Pipeline, files: list[Path]) -> None:
    told: list[float] = []
    rows = grid(blur.walker, ["core.direct", "core.cold"], [4])
    evaluate(blur.walker, files, rows, watch=told.append)
    assert told == sorted(told) and told[-1] == len(files) * len(rows)
    assert len(set(told)) > 2 * 2 * 2, "also between the steps of a walk"


# --- names --------------------------------------------------------------------------------------------------------


def test_names_tell_what_differs_and_nothing_else(blur: rethaw.Pipeline) -> None:
    assert list(grid(blur.walker, ["core.cold"], [10], {"on": Consistency()})) == ["core.cold"]
    item = blur.walker.parts.registry
    from rethaw.config.components import parse_component

    noisy = parse_component("cold", "sampler", item, {"noise": 0.01})
    assert list(grid(blur.walker, [noisy, "core.cold"], [1, 2])) == [
        *("core.cold noise=0.01 1 step", "core.cold noise=0.01 2 steps", "core.cold 1 step", "core.cold 2 steps")
    ]


def test_metrics_are_found_by_id_by_name_and_as_components(blur: rethaw.Pipeline) -> None:
    parts, ids = measuring(blur.parts, ["psnr", "core.ssim", "core.rmse"])
    assert ids == ["psnr", "ssim", "rmse"] and list(parts.metrics()) == ["rmse", "psnr", "ssim"]
    parts, ids = measuring(blur.parts, ["ssim"], only=True)
    assert ids == ["ssim"] and list(parts.metrics()) == ["ssim"] and list(blur.parts.metrics()) == ["rmse", "psnr"]
    with pytest.raises(RethawError, match=r"core\.psnr"):
        measuring(blur.parts, ["core.psrn"])


# --- reports ------------------------------------------------------------------------------------------------------


def found(value: float, label: str = "rmse", **more: Any) -> Figure:
    return Figure(label, value, **more)


def report(*rows: dict[str, Figure], images: tuple[int, ...] = (8, 8, 8)) -> Report:
    picture = torch.zeros(3, 8, 8)
    table = {
        f"row {i}": Row(row, n, 0.1, "a line" if i else "", str(i), [picture])
        for i, (row, n) in enumerate(zip(rows, images, strict=False))
    }
    return Report(table, 8, 1.0, 0, {}, [], [picture])


KID = {"label": "kid (lite0@96)", "kind": "perception", "interval": (0.1, 0.3), "images": 8}


def test_a_table_has_labels_intervals_and_images_where_they_differ() -> None:
    rows = [{"rmse": found(0.05), "kid": found(0.2, **KID), "psnr": found(9.0 + i, "psnr")} for i in range(3)]
    table = report(*rows).markdown("row 1").splitlines()
    assert table[0] == "| | rmse | kid (lite0@96) | psnr | s/image |"
    assert table[2] == "| row 0 | 0.0500 | 0.2000 (0.1000 to 0.3000) | 9.00 | 0.10 |"
    assert table[3].startswith("| **row 1** (chosen) |")
    differ = report(*rows, images=(8, 4, 8)).markdown().splitlines()
    assert differ[0].endswith("| images | s/image |") and differ[3].endswith("| 4 | 0.10 |")


@pytest.mark.parametrize(
    "row, axes",
    [
        (
            {"psnr": found(9.0, "psnr", higher_is_better=True), "rmse": found(0.1), "kid": found(0.2, **KID)},
            ("rmse", "kid"),
        ),
        ({"kid": found(0.2, **KID), "psnr": found(9.0, "psnr", higher_is_better=True)}, ("psnr", "kid")),
        ({"rmse": found(0.1), "psnr": found(9.0, "psnr")}, None),
        ({"kid": found(0.2, **KID)}, None),
    ],
)
def test_the_plot_takes_one_metric_of_each_kind(row: dict[str, Figure], axes: Any, tmp_path: Path) -> None:
    said = report(row, row, row)
    assert said.axes == axes
    written = said.save(tmp_path / "out")
    assert sorted(written) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert ("curve.png" in written) == (axes is not None)


def test_figures_that_are_no_numbers_are_left_out_of_the_plot_and_null_in_json(tmp_path: Path) -> None:
    rows = [{"rmse": found(0.1 * i or math.nan), "kid": found(0.2 * i or math.nan, **KID)} for i in (1, 0, 2)]
    report(*rows).save(tmp_path)
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["figures"]["row 1"]["kid"]["value"] is None
    assert read["figures"]["row 0"]["kid"] == {
        **{"label": "kid (lite0@96)", "value": 0.2, "images": 8, "interval": [0.1, 0.3]},
        **{"note": "", "kind": "perception", "higher_is_better": False},
    }


def test_metrics_say_of_which_kind_they_are() -> None:
    kinds = {}
    for name in ("core.psnr", "core.rmse", "perceptual.kid", "perceptual.feature_distance"):
        lite0 = {"features": "lite0"} if "perceptual" in name else {}
        kinds[name] = figure(rethaw.build("metric", name, **lite0), name).kind
    assert [name for name, kind in kinds.items() if kind == "perception"] == ["perceptual.kid"]

    class Plain:
        higher_is_better = True
        update: Callable[..., None]

        def compute(self) -> float:
            return 1.0

    assert figure(Plain(), "plain") == Figure("plain", 1.0, higher_is_better=True)


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_measures_a_grid(place: Path) -> None:
    words = ("--steps", "1,2", "--consistency", "off,0.01", "-s", "core.direct", "-s", "cold", "--limit", "3")
    done = command(
        *("evaluate", "blur", "--data", "photos", *words, "-m", "rmse", "-m", "{use: core.ssim, id: likeness}"),
        *("-o", "grid", "degradation.sigma_max=1.5"),
        cwd=place,
    )
    assert {path.name for path in (place / "grid").iterdir()} == {"results.md", "results.json", "sheet.png"}
    read = json.loads((place / "grid" / "results.json").read_text())
    assert list(read["rows"]) == [
        *("degraded", "core.direct", "core.direct, consistency 0.01", "cold 1 step", "cold 2 steps"),
        *("cold 1 step, consistency 0.01", "cold 2 steps, consistency 0.01"),
    ]
    assert set(read["rows"]["degraded"]) == {"rmse", "likeness"} and read["images"] == 3
    how = read["how"]["cold 2 steps, consistency 0.01"]
    assert how["sampler"]["steps"] == 2 and how["consistency"]["weight"] == 0.01
    assert read["how"]["core.direct"]["consistency"] is None
    assert (place / "grid" / "results.md").read_text().splitlines()[0] in done.stdout


@pytest.mark.parametrize(
    "words, told",
    [
        (["--steps", "1,x"], "--steps"),
        (["--steps", "0"], "--steps"),
        (["--steps", ""], "--steps"),
        (["--consistency", "sometimes"], "consistency"),
        (["--consistency", "off,-1"], "consistency.weight"),
        (["-s", "core.colt"], "core.cold"),
        (["-m", "core.psrn"], "core.psnr"),
        (["-m", "{id: x}"], "names no metric"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    place: Path, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, ["evaluate", "blur", "--data", "photos", "-o", "none", *words])
    assert isinstance(done.exception, RethawError) and told in str(done.exception)
    assert not (place / "none").exists()


def test_an_interruption_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    take = engine.Evaluation.take
    calls: list[int] = []

    def stopped(self: Any, clean: torch.Tensor, fields: Any) -> None:
        calls.append(len(clean))
        if len(calls) == 2:
            raise KeyboardInterrupt
        take(self, clean, fields)

    monkeypatch.setattr(engine.Evaluation, "take", stopped)
    done = CliRunner().invoke(app, ["evaluate", "blur", "--data", "photos"])
    assert done.exit_code == 130 and len(calls) == 2
    assert sorted(place.rglob("*")) == before
