"""After a short training the caption decides what is generated, as a classifier of real images sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.text import SCALES, draw, measure


@pytest.mark.long
def test_the_caption_steers_what_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    train, held_out = draw(tmp_path / "train"), draw(tmp_path / "held-out", 10, seed=1)
    found = measure(train, held_out, tmp_path / "out", size=16, overrides=["train.steps=500"], judge_steps=200, each=12)
    assert found.real > 0.9 and found.chance == pytest.approx(1 / 6)
    ignored, followed, led = (found.by_scale[scale] for scale in SCALES)
    assert ignored == pytest.approx(1 / 6, abs=1e-6), "without guidance's condition, all captions give the same images"
    assert followed > 0.4 and led > 0.55 and led > followed - 0.1
    assert (tmp_path / "out" / "grid.png").is_file()
