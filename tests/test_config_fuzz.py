"""A thousand pipelines and five hundred overrides, broken at random: each loads, or says what is wrong and where."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rethaw import plugins
from rethaw.config import load_config, load_text
from rethaw.config.dump import dump_config
from rethaw.config.find import recipe_names, recipe_path
from rethaw.config.marks import ConfigError
from rethaw.config.yaml import parse_yaml

RICH = """\
version: 1
plugins: {block: [x], require: [rethaw-kornia>=0.1]}
data: {use: core.folder, path: photos, size: 32}
degradation:
  - {id: blur, use: kornia.gaussian_blur, sigma_max: 2.5, span: [0, 0.5], schedule: [[0, 0], [0.5, 0.2], [1, 1]]}
  - use: core.mixture
    of: [core.mask, {use: imagenet_c.snow, severity_max: 3}]
    weights: [1, 2.5]
observation: {bits: 8}
backbone: {width: 64, multipliers: [1, 2]}
restorer: {prediction: residual, clip: true}
conditioner: [{use: core.label, classes: [a, 'b', "c"], drop: 0.2}]
guidance: {scale: 2.0, negative: {label: a}}
sampler: {use: core.cold, steps: 9}
metrics: [core.psnr, {use: core.ssim, id: similar}]
seed: 3
train: {steps: 10, lr: 1e-4, log_normal: [-1.2, 1.2]}
"""
TEXTS = [RICH, *(path.read_text("utf-8") for path in map(recipe_path, recipe_names()) if path)]
KEYS = [
    *("train.steps", "data.path", "degradation.blur.span", "degradation.mixture.of.snow.severity_max", "sampler"),
    *("guidance.negative", "conditioner.label.classes", "metrics.0.id", "seed", "backbone.width", "plugins.block"),
]
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 5, 2**62, 1e308, -0.5, "", "x", "core.cold", "kornia.zzz", "zzz.zzz", "a.b.c"),
    *("..", ".", "~", "1e5", "use", "é" * 90, "\x1b[31m", "\\", "core.", ".mask", "demo", "/", "a/b", "x" * 5000),
    *([], {}, [[]], [{}], {"use": None}, {"use": []}, {"use": "core.mask"}, {"of": []}, ["core.mask"] * 3, [None] * 9),
    *({"a": {"b": {"c": 1}}}, [0, 1], [1, 0], [[0, 0], [1, 1]], {"use": "core.mixture", "of": ["core.mask"]}),
]
CHARACTERS = "ab01 \n\t:-#[]{}&*!|>'\"%@`,?~.=<é漢\u2028\x85\ufeff\r\\\x00\x07"
CLAIMS = plugins.scan()
LIMIT = 5
"""Seconds of processor time, for machines that are busy; without other load it is less than one."""
PLACE = re.compile(r".+:\d+:\d+")


@pytest.fixture(autouse=True)
def scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed does not change meanwhile."""
    monkeypatch.setattr(plugins, "scan", lambda: CLAIMS)


def spoilt_text(text: str, rng: random.Random) -> str:
    """A text in which characters or lines are put in, taken out or moved."""
    for _ in range(rng.randint(1, 5)):
        at, other = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        length = rng.choice([1, 1, 3, 20, 200])
        new = rng.choice([rng.choice(CHARACTERS), text[other : other + length], "", rng.choice(CHARACTERS) * length])
        text = text[:at] + new + text[at + rng.choice([0, 1, length]) :]
    return text


def spoilt_tree(tree: Any, rng: random.Random) -> Any:
    """Data in which values, keys and items are replaced, renamed, taken out or put elsewhere."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        rest = {name: value for name, value in tree.items() if name != key}
        new = rng.choice([key, key, key, key + "s", key[:-1], str(rng.choice(JUNK)), "use", "id", "of"])
        return rest if rng.random() < 0.1 else {**rest, new: spoilt_tree(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.7:
        at = rng.randrange(len(tree))
        return [*tree[:at], spoilt_tree(tree[at], rng), *tree[at + rng.randint(0, 1) :]]
    return rng.choice(JUNK)


def survives(load: Callable[[], Any], source: str) -> bool:
    """Whether it loads; if not, every mistake has its place and one message. Either way it takes less than a second."""
    began = time.process_time()
    try:
        made, _ = load()
        assert dump_config(made)
        return True
    except ConfigError as error:
        for problem in error.problems:
            place = str(problem.mark)
            assert place.startswith("command line: ") or (PLACE.fullmatch(place) and source in place), problem
            assert problem.message and "Traceback" not in problem.message and len(str(problem)) < 3000, problem
        return False
    finally:
        assert time.process_time() - began < LIMIT


@pytest.mark.parametrize("part", range(10))
def test_spoilt_files(part: int, tmp_path: Path) -> None:
    """A hundred each; half spoilt as text, half as data."""
    rng, path = random.Random(part), tmp_path / "spoilt.yaml"
    loaded = 0
    for _ in range(100):
        text = rng.choice(TEXTS)
        if rng.random() < 0.5:
            text = spoilt_text(text, rng)
        else:
            tree = parse_yaml(text, "base").plain()
            for _ in range(rng.randint(1, 3)):
                tree = spoilt_tree(tree, rng)
            text = json.dumps(tree, indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        loaded += survives(lambda: load_config(str(path)), "spoilt.yaml")
    assert loaded < 90, "most are broken"


@pytest.mark.parametrize("part", range(5))
def test_spoilt_overrides(part: int) -> None:
    """A hundred each, one to four at once."""
    rng, refused = random.Random(part), 0
    for _ in range(100):
        words = []
        for _ in range(rng.randint(1, 4)):
            key = rng.choice(KEYS) if rng.random() < 0.6 else spoilt_text(rng.choice(KEYS), rng)
            value = rng.choice([json.dumps(rng.choice(JUNK)), str(rng.choice(JUNK)), spoilt_text("[a, {b: 1}]", rng)])
            words.append(f"{key}={value}" if rng.random() < 0.95 else key)
        refused += not survives(partial(load_text, RICH, words, "rich.yaml"), "rich.yaml")
    assert refused > 20


def test_long_and_many(tmp_path: Path) -> None:
    """What a pipeline may hold is bounded, in words, and quickly."""
    mask = "degradation: core.mask\n"
    cases = {
        mask + f"metrics: [{'core.psnr,' * 19_900}]": "metrics holds 19900 components; a pipeline may hold 100 in all",
        mask + f"metrics: [{'core.psnrr,' * 9_900}]": "metrics holds 9900 components",
        mask + f"metrics: [{','.join(f'x{i}.y{i}' for i in range(90))}]": "and 40 more mistakes",
        f"degradation: [{'{use: core.mixture, of: [core.mask, core.mask]},' * 60}]": "a pipeline may hold 100 in all",
        mask + "".join(f"kay{i}: 1\n" for i in range(9_900)): "and 9880 more unknown keys in the pipeline",
        mask + f"train: {{{','.join(f'kay{i}: 1' for i in range(9_900))}}}": "and 9880 more unknown keys in train",
        f"degradation: {{use: core.mask, schedule: [{'[a,b],' * 6000}]}}": "schedule.0.0 must be a number",
        f"degradation: {{use: core.mask, schedule: [{'[0,.nan],' * 6000}]}}": "more mistakes",
        mask + f"plugins: {{require: [{','.join(f'x{i}' for i in range(9_000))}]}}": "require must have at most",
        mask + f"plugins: {{block: [{'x,' * 19_000}]}}": "plugins.block must have at most 100 values, not 19000",
        mask + f"metrics: {'x' * 900_000}": "there is no metric",
        mask + f"{'x' * 900}: 1": "unknown key",
        mask + f"extends: {'x' * 900_000}": "File name too long",
        f"degradation: {{use: core.mask, {'x' * 900}: 1}}": "unknown key",
    }
    for text, expected in cases.items():
        path = tmp_path / "long.yaml"
        path.write_text(text)
        began = time.process_time()
        with pytest.raises(ConfigError) as caught:
            load_text(text, (), "long.yaml") if "extends" not in text else load_config(str(path))
        assert time.process_time() - began < LIMIT, expected
        assert expected in str(caught.value) and len(str(caught.value)) < 30_000, expected


def test_many_classes_are_no_mistake() -> None:
    """A data set may have very many."""
    names = ", ".join(f"class {i}" for i in range(10_000))
    began = time.process_time()
    made, _ = load_text(f"degradation: core.mask\nconditioner: {{use: core.label, classes: [{names}]}}")
    assert len(made.conditioner[0].params.classes) == 10_000 and time.process_time() - began < LIMIT


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 300, "extends: cannot look for"),
        ("x" * 300 + ".yaml", "extends: cannot look for"),
        ("a/" * 3000, "extends: cannot look for"),
        ("\\0", "character"),
        ("absent.yaml", "extends: there is no file"),
        ("../../../etc/passwd", "mapping"),
        ("folder", "extends: "),
        ("/dev/null", "extends: "),
        ("~nobody-of-that-name/x.yaml", "extends: there is no file"),
        ("top.yaml/below.yaml", "extends: "),
    ],
)
def test_names_in_extends(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "top.yaml").write_text(f'degradation: core.mask\nextends: "{name}"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path / "top.yaml"))
    (problem,) = caught.value.problems
    assert PLACE.fullmatch(str(problem.mark)) and len(str(problem)) < 600
    assert expected in str(problem) or "passwd" in name


def test_a_chain_of_a_thousand_files(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\n")
    (tmp_path / "1000.yaml").write_text("degradation: core.mask\n")
    with pytest.raises(ConfigError, match="a chain of more than 20 files") as caught:
        load_config(str(tmp_path / "0.yaml"))
    assert str(caught.value).startswith(str(tmp_path / "20.yaml:1:1"))
    assert load_config(str(tmp_path / "985.yaml"))[0].degradation[0].use == "core.mask"
