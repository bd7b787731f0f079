"""Tuning: the best setting by an aim is chosen, written into the run and used, and whatever is said goes before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rethaw
from rethaw.api import Figure, RethawError
from rethaw.cli.main import app
from rethaw.engine.evaluation import tune as engine
from rethaw.engine.evaluation.aim import Aim
from rethaw.engine.evaluation.evaluate import evaluate
from rethaw.engine.evaluation.grid import grid
from rethaw.engine.evaluation.tune import rungs, settings, tune
from rethaw.engine.run import Run
from rethaw.images import some
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.worlds import images, with_network

BLUR = "{use: kornia.gaussian_blur, sigma_max: 2.0}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    photos(folder / "photos", 8, (24, 20))
    pipeline = rethaw.Pipeline.from_yaml(recipe(folder, folder / "photos", BLUR))
    with_network(pipeline, image_shape=(3, 16, 16)).save(folder / "untuned")
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A run of its own, not tuned."""
    rethaw.Pipeline.load(place / "untuned").save(tmp_path / "run")
    return tmp_path / "run"


# --- the aim ------------------------------------------------------------------------------------------------------


def rows(**values: tuple[float, float]) -> dict[str, dict[str, Figure]]:
    """Settings with a KID and an RMSE each."""
    return {name: {"kid": Figure("kid", a), "rmse": Figure("rmse", b)} for name, (a, b) in values.items()}


FOUR = rows(direct=(0.9, 0.10), few=(0.5, 0.105), many=(0.3, 0.12), lost=(0.2, 0.2))
STEPS = {"direct": 1, "few": 3, "many": 25, "lost": 50}


@pytest.mark.parametrize("factor, best", [(1.0, "direct"), (1.05, "few"), (1.06, "few"), (1.25, "many"), (3.0, "lost")])
def test_a_bound_is_so_many_times_the_best(factor: float, best: str) -> None:
    aim = Aim("kid", {"rmse": factor})
    assert aim.ranked(FOUR, STEPS)[0] == best
    assert sorted(aim.ranked(FOUR, STEPS)) == sorted(FOUR)
    assert "kid" in aim.why(best, FOUR) and "rmse is at most" in aim.why(best, FOUR)


def test_without_bounds_the_metric_alone_counts_whichever_way_is_up() -> None:
    assert Aim("kid").ranked(FOUR, STEPS) == ["lost", "many", "few", "direct"]
    better = {
        name: {"psnr": Figure("psnr", v, higher_is_better=True)} for name, v in zip("abc", (20, 24, 22), strict=True)
    }
    assert Aim("psnr").ranked(better, dict.fromkeys("abc", 1)) == ["b", "c", "a"]
    within = {name: {**row, "kid": Figure("kid", -row["psnr"].value)} for name, row in better.items()}
    assert Aim("kid", {"psnr": 1.1}).ranked(within, dict.fromkeys("abc", 1))[0] == "b"
    assert "psnr is at least 21.6" in Aim("kid", {"psnr": 1.1}).why("b", within)


def test_equal_figures_are_decided_by_steps_and_no_number_is_last() -> None:
    equal = rows(a=(0.5, 1.0), b=(0.5, 1.0), c=(float("nan"), 1.0))
    assert Aim("kid").ranked(equal, {"a": 10, "b": 2, "c": 1}) == ["b", "a", "c"]


def test_half_is_dropped_but_not_what_may_still_win() -> None:
    figures = {
        name: {"kid": Figure("kid", value, interval=(value - width, value + width)), "rmse": Figure("rmse", rmse)}
        for name, value, width, rmse in [
            ("best", 0.3, 0.05, 0.12),
            ("second", 0.36, 0.05, 0.12),
            ("third", 0.38, 0.05, 0.12),
            ("sharpest", 0.9, 0.05, 0.10),
            ("far", 0.8, 0.05, 0.11),
            ("wrong", 0.3, 0.05, 0.30),
        ]
    }
    steps = dict.fromkeys(figures, 1)
    assert Aim("kid", {"rmse": 1.25}).kept(figures, steps) == ["best", "second", "third", "sharpest"]
    assert Aim("kid").kept(figures, steps) == ["best", "second", "third", "wrong"]
    narrow = {name: {"kid": Figure("kid", row["kid"].value)} for name, row in figures.items()}
    assert Aim("kid").kept(narrow, steps) == ["best", "second", "wrong"]


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 5)), min_size=1, max_size=9), st.floats(1, 3))
def test_the_first_is_the_best_of_all_inside_the_bounds(values: list[tuple[float, float]], factor: float) -> None:
    figures = rows(**{f"s{i}": pair for i, pair in enumerate(values)})
    steps, aim = dict.fromkeys(figures, 1), Aim("kid", {"rmse": factor})
    least = min(b for _, b in values)
    allowed = [a for a, b in values if b <= least + (factor - 1) * least]
    first = aim.ranked(figures, steps)[0]
    assert figures[first]["kid"].value == min(allowed) and first in aim.kept(figures, steps)


def test_images_are_taken_coarse_to_fine_and_from_everywhere() -> None:
    assert [*rungs(500)] == [(0, 125), (125, 250), (250, 500)] and [*rungs(60)] == [(0, 60)]
    assert next(iter(rungs(1000))) == (0, 125)
    files = [Path(str(i)) for i in range(100)]
    taken = some(files, 20)
    assert taken == some(files, 20) and len(set(taken)) == 20 and max(int(p.name) for p in taken) > 60
    assert sorted(some(files, 500)) == sorted(files)


# --- the choice ---------------------------------------------------------------------------------------------------


def test_the_choice_is_the_best_of_the_table_and_bad_settings_are_spared_images(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEAST", 2)
    pipeline, files = rethaw.Pipeline.load(run), sorted((place / "photos").iterdir())
    assert {"core.direct", "core.cold 3 steps", "core.cold 25 steps, consistency observation"} <= {
        *settings(pipeline.walker)
    }
    contestants = settings(pipeline.walker, steps=[2, 3, 4])
    told: list[float] = []
    choice = tune(pipeline.walker, files, contestants, Aim("rmse"), watch=told.append)
    table = evaluate(pipeline.walker, files, contestants).rows
    best = min(contestants, key=lambda name: (table[name]["rmse"], contestants[name].steps))
    assert choice.name == best and choice.report.rows[best] == pytest.approx(table[best], rel=1e-4)
    counts = {row.images for row in choice.report.table.values()}
    assert counts == {2, 4, 8} and choice.report.table[best].images == 8
    assert told == sorted(told) and told[-1] == 8 * len(contestants)


def test_nothing_is_chosen_where_nothing_can_be_compared(run: Path, place: Path) -> None:
    walker = rethaw.Pipeline.load(run, ["metrics=[{use: perceptual.kid, features: lite0}]"]).walker
    one = sorted((place / "photos").iterdir())[:1]
    with pytest.raises(RethawError, match="no value"):
        tune(walker, one, grid(walker, ["core.direct"]), Aim("kid"))


def tuned(run: Path, place: Path, samplers: Sequence[str], steps: Sequence[int] = (), consistency: Any = None) -> None:
    walker = rethaw.Pipeline.load(run).walker
    one = sorted((place / "photos").iterdir())[:1]
    of = {"so": consistency} if consistency else {"off": None}
    tune(walker, one, grid(walker, samplers, steps, of), Aim("rmse")).save(Run(run))


def test_a_tuned_run_restores_so_and_whatever_is_said_goes_before_it(run: Path, place: Path) -> None:
    from rethaw.config.model import Consistency

    x = images(2, 3, 16, 16, dtype=torch.float32)
    plain = rethaw.Pipeline.load(run)
    kept = rethaw.Pipeline.load(run, ["consistency.weight=0.01"])
    expected = kept.restore(x, sampler="core.naive", steps=2)
    before = plain.restore(x)
    tuned(run, place, ["core.naive"], [2], Consistency(weight=0.01))
    loaded = rethaw.Pipeline.load(run)
    assert torch.equal(loaded.restore(x), expected) and not torch.equal(expected, before)
    assert torch.equal([*loaded.trajectory(x)][-1].x, expected) and len([*loaded.trajectory(x)]) == 3
    assert torch.equal(loaded.restore(x, sampler="core.direct"), kept.restore(x, sampler="core.direct"))
    for override in ("sampler.steps=5", "sampler={use: core.cold, steps: 2}", "consistency=null"):
        own = rethaw.Pipeline.load(run, [override]).walker.restoring.parts.config
        assert (own.consistency is None) == ("consistency" in override)
        assert own.sampler.params.steps == (5 if "5" in override else 2)
        assert own.sampler.use == ("core.cold" if "cold" in override else "core.naive")
    assert loaded.config.sampler.use == "core.cold", "what is trained and generated is as before"
    assert rethaw.Pipeline.load(run, ["measurement=core.desaturate"]).walker.tuned is None
    assert loaded.measured("core.desaturate").walker.restoring.parts.config.sampler.use == "core.cold"


def test_a_copy_of_a_tuned_run_is_tuned_and_a_choice_can_be_forgotten(run: Path, place: Path, tmp_path: Path) -> None:
    tuned(run, place, ["core.naive"], [3])
    rethaw.Pipeline.load(run).save(tmp_path / "copy")
    x = images(1, 3, 16, 16, dtype=torch.float32)
    assert torch.equal(rethaw.Pipeline.load(tmp_path / "copy").restore(x), rethaw.Pipeline.load(run).restore(x))
    assert Run(run).forget_tuned() and not Run(run).forget_tuned()
    assert rethaw.Pipeline.load(run).walker.tuned is None
    before = (run / "resolved.yaml").read_bytes()
    (run / "tuned.yaml").write_text("extends: resolved.yaml\nsampler: {use: core.colt}\n")
    with pytest.raises(RethawError, match=r"tuned\.yaml:2.*\n?.*core\.cold"):
        rethaw.Pipeline.load(run)
    assert (run / "resolved.yaml").read_bytes() == before


# --- at the end of a training --------------------------------------------------------------------------------------

TUNED = "tune: {data: photos, metric: ssim, within: {rmse: 1.2}, images: 3}"


def training(folder: Path, extra: str = TUNED) -> Path:
    path = recipe(folder, photos(folder / "photos", 4, (24, 20)), BLUR)
    path.write_text(path.read_text().replace("warmup: 0}", f"warmup: 0, {extra}}}"))
    return path


def test_a_training_tunes_its_run_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = rethaw.Pipeline.from_yaml(training(tmp_path))
    assert pipeline.train(tmp_path / "run").finished
    loaded = rethaw.Pipeline.load(tmp_path / "run")
    chosen, read = pipeline.walker.tuned, loaded.walker.tuned
    assert chosen and read and (chosen.sampler, chosen.consistency) == (read.sampler, read.consistency)
    assert {p.name for p in (tmp_path / "run" / "tuning").iterdir()} == {"results.md", "results.json", "sheet.png"}
    told = json.loads((tmp_path / "run" / "tuning" / "results.json").read_text())
    assert told["images"] == 3 and "rmse is at most" in told["why"] and told["chosen"] in told["rows"]
    x = images(1, 3, 16, 16, dtype=torch.float32)
    assert torch.equal(pipeline.restore(x), loaded.restore(x))
    resolved = yaml.safe_load((tmp_path / "run" / "resolved.yaml").read_text())
    assert resolved["train"]["tune"]["within"] == {"rmse": 1.2}
    assert (
        rethaw.Pipeline.from_yaml(tmp_path / "run", ["train.tune=null", "train.steps=5"])
        .train(tmp_path / "run", resume=True)
        .step
        == 5
    )


@pytest.mark.parametrize(
    "tune, told",
    [
        ("tune: {data: nowhere, metric: ssim}", "nowhere does not exist"),
        ("tune: {data: photos, metric: core.sim}", "core.ssim"),
        ("tune: {data: photos, metric: ssim, within: {rms: 1.1}}", "core.rmse"),
        ("tune: {data: photos, metric: ssim, within: {rmse: 0.9}}", "rmse"),
        ("tune: {data: photos, metrc: ssim}", "metrc"),
        ("tune: {metric: ssim}", "data"),
    ],
)
def test_what_tuning_will_lack_is_told_before_the_training(
    tune: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = training(tmp_path, tune)
    with pytest.raises(RethawError) as error:
        rethaw.Pipeline.from_yaml(path).train(tmp_path / "run")
    assert told in str(error.value) and not (tmp_path / "run").exists()


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_tunes_and_restore_says_so(
    run: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--steps", "1,3", "--consistency", "off,0.01", "--metric", "ssim", "--within", "rmse=1.5", "--limit", "3")
    done = command("tune", run, "--data", place / "photos", *words, cwd=tmp_path)
    assert "(chosen)" in done.stdout and "--forget" in done.stdout
    read = json.loads((run / "tuning" / "results.json").read_text())
    assert f"chosen: {read['chosen']}: ssim" in done.stdout
    config = yaml.safe_load((run / "tuned.yaml").read_text())
    assert config["sampler"] == read["how"][read["chosen"]]["sampler"]
    file = place / "photos" / "0.png"
    monkeypatch.chdir(tmp_path)
    for options, expected in (((), True), (("--sampler", "core.direct"), False)):
        CliRunner().invoke(app, ["restore", str(run), str(file), "--out", "out", "--no-strip", *options])
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["tuned"] is expected
        assert report["sampler"]["use"] == (config["sampler"]["use"] if expected else "core.direct")
    assert CliRunner().invoke(app, ["tune", str(run), "--forget"]).exit_code == 0
    assert not (run / "tuned.yaml").exists()


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "--data"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "photos", "--within", "rmse=0.5"], "--within"),
        (["--data", "photos", "--within", "rmse"], "KEY=VALUE"),
        (["--data", "photos", "--metric", "core.sim"], "core.ssim"),
        (["--data", "photos", "--steps", "none"], "--steps"),
    ],
)
def test_mistakes_are_told(words: list[str], told: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, ["tune", "untuned", *words])
    assert isinstance(done.exception, RethawError) and told in str(done.exception)
    assert not (place / "untuned" / "tuned.yaml").exists()
