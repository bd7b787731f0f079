"""Configs: composition, overrides, every mistake at its place and all at once, dumps, the JSON Schema, explanations."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Lt, MaxLen, MinLen, MultipleOf
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from rethaw.api import RethawError
from rethaw.config import Config, load_config, load_text
from rethaw.config.check import adapter
from rethaw.config.dump import dump_config
from rethaw.config.find import nearest_runs, recipe_names, recipe_path
from rethaw.config.hosts import HOSTS, PlainHost
from rethaw.config.marks import ConfigError, Mark, marked
from rethaw.config.messages import EXPECTED, OWN_WORDS, STATED, complaints
from rethaw.config.model import DEFAULTS, KEYS, LISTS, SECTIONS, SINGLE
from rethaw.config.schema import json_schema
from rethaw.config.values import meant, parameter_types, union_members
from rethaw.config.yaml import parse_word, parse_yaml
from rethaw.describe import param_docs
from rethaw.hookspecs import KINDS
from rethaw.registry import Registry

MASK = "degradation: core.mask\n"
DATA = "data.path=photos"


def config(text: str, *overrides: str) -> Config:
    return load_text(text, overrides, "a.yaml")[0]


def problems(text: str, *overrides: str) -> list[str]:
    """Every mistake in a YAML text: "line:column: message (hint)"."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, overrides, "a.yaml")
    return [str(problem).removeprefix("a.yaml:") for problem in caught.value.problems]


def problem(text: str, *overrides: str) -> str:
    (only,) = problems(text, *overrides)
    return only


# --- mistakes and their places


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{MASK}trian: {{steps: 5}}", "2:1: unknown key 'trian'\n    Did you mean train?"),
        (f"{MASK}zzzzz: 5", "2:1: unknown key 'zzzzz'\n    The keys here are: version, extends"),
        (f"{MASK}train: {{stepz: 5}}", "2:9: unknown key 'train.stepz'\n    Did you mean steps?"),
        ("degradation: {use: core.mask, sise: 0.5}", "1:31: unknown key 'degradation.sise'\n    Did you mean size?"),
        (
            "degradation: [{use: core.mask, scedule: linear}]",
            "1:32: unknown key 'degradation.scedule'\n    Did you mean schedule?",
        ),
        (
            "degradation: {use: core.maks}",
            "1:20: degradation: there is no degradation 'core.maks'\n    Did you mean core.mask?",
        ),
        ("degradation: core.cold", "1:14: degradation: core.cold is a sampler, not a degradation"),
        ("degradation: {size: 0.5}", "1:14: degradation: say which degradation\n    Write {use: NAME}"),
        ("degradation: {use: 5}", "1:14: degradation: say which degradation"),
        ("degradation: [core.mask, 5]", "1:26: degradation[1]: say which degradation"),
        ("degradation: []", "1:14: degradation is an empty list"),
        ("seed: 1", "1:1: degradation is missing"),
        ("degradation:\nseed: 1", "1:1: degradation is missing"),
        (f"version: 2\n{MASK}", "1:1: this rethaw reads version 1, not 2"),
        (f"version: '1'\n{MASK}", '1:10: version must be a whole number, not "1"'),
        (f"{MASK}seed: 1.0", "2:7: seed must be a whole number, not 1.0"),
        (f"{MASK}seed: true", "2:7: seed must be a whole number, not true"),
        (f"{MASK}train: 5", "2:8: train must be a mapping of keys, not 5"),
        (f"{MASK}train: [5]", "2:8: train must be a mapping of keys, not a list"),
        (f"{MASK}sampler: [core.cold]", "2:10: sampler: say which sampler"),
        (f"{MASK}train: {{steps: '4'}}", '2:16: train.steps must be a whole number, not "4"'),
        (f"{MASK}train: {{steps: 4.0}}", "2:16: train.steps must be a whole number, not 4.0"),
        (f"{MASK}train: {{steps: true}}", "2:16: train.steps must be a whole number, not true"),
        (f"{MASK}train: {{steps: null}}", "2:16: train.steps must be a whole number, not null"),
        (f"{MASK}train: {{steps: [4]}}", "2:16: train.steps must be a whole number, not a list"),
        (f"{MASK}train: {{steps: 0}}", "2:16: train.steps must be at least 1, not 0"),
        (f"{MASK}train: {{lr: '1e-4'}}", '2:13: train.lr must be a number, not "1e-4"'),
        (f"{MASK}train: {{lr: true}}", "2:13: train.lr must be a number, not true"),
        (f"{MASK}train: {{lr: 0}}", "2:13: train.lr must be greater than 0, not 0"),
        (f"{MASK}train: {{lr: .nan}}", "2:13: train.lr must be a finite number, not nan"),
        (f"{MASK}train: {{lr: .inf}}", "2:13: train.lr must be a finite number, not inf"),
        (f"{MASK}train: {{lr: 1e999}}", "2:13: train.lr must be a finite number, not inf"),
        (f"{MASK}train: {{ema: 1.0}}", "2:14: train.ema must be less than 1, not 1.0"),
        (f"{MASK}train: {{loss: l3}}", "2:15: train.loss must be 'l1', 'l2' or 'huber', not \"l3\""),
        (f"{MASK}restorer: {{clip: 1}}", "2:18: restorer.clip must be true or false, not 1"),
        (f"{MASK}restorer: {{clip: yes}}", '2:18: restorer.clip must be true or false, not "yes"'),
        (f"{MASK}restorer: {{tile: 3}}", "2:18: restorer: tile is 0 or at least 64 pixels"),
        (f"{MASK}observation: {{bits: 9}}", "2:21: observation.bits must be 8 or 16, not 9"),
        (f"{MASK}data: core.folder", "2:7: data.path is missing"),
        (f"{MASK}data: {{use: core.folder, path: 5}}", "2:32: data.path must be text, not 5"),
        (f"{MASK}guidance: {{scale: 2.0}}", "2:1: guidance needs a conditioner"),
        (
            f"{MASK}guidance: {{scale: 2.0}}\nconditioner: {{use: core.label, drop: 0}}",
            "2:1: guidance needs training with the null condition",
        ),
        (f"{MASK}conditioner: {{use: core.label, drop: 2}}", "2:38: conditioner.drop must be at most 1"),
        ("restorer: {channels: 1}\ndegradation: core.desaturate", "2:1: core.desaturate works on 3-channel images"),
        (
            "restorer: {channels: 1}\ndegradation: {use: core.mixture, of: [core.desaturate]}",
            "core.desaturate works on 3-channel",
        ),
        ("degradation: [core.mask, core.mask]", "1:14: degradation: two items have the id 'mask'"),
        ("degradation: {use: core.mask, id: a.b}", '1:35: degradation.id: "a.b" is not a name'),
        ("degradation: {use: core.mask, id: '0'}", '1:35: degradation.id: "0" is not a name'),
        ("degradation: core.mixture", "1:14: degradation.of: list the members"),
        ("degradation: {use: core.mixture, of: []}", "1:38: degradation.of: list the members"),
        ("degradation: {use: core.mixture, of: core.mask}", "1:38: degradation.of: list the members"),
        (
            "degradation: {use: core.mixture, of: [core.mask, core.maks]}",
            "1:50: degradation.of[1]: there is no degradation 'core.maks'",
        ),
        ("degradation: {use: core.mixture, of: [{use: core.mask, size: 2}]}", "1:62: degradation.of.size must be"),
        (
            "degradation: {use: core.mixture, of: [core.mask], weights: [.inf]}",
            "1:61: degradation.weights must be a finite number, not inf",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, expected: str) -> None:
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("span: [0.5, 0.5]", "1:37: degradation: span is [a, b] with a < b, not [0.5, 0.5]"),
        ("span: [0.5, 2]", "1:43: degradation.span.1 must be at most 1, not 2"),
        ("span: [-1, 1]", "1:38: degradation.span.0 must be at least 0, not -1"),
        ("span: [0, '1']", '1:41: degradation.span.1 must be a number, not "1"'),
        ("span: 0.5", "1:37: degradation.span must be a list, not 0.5"),
        ("span: [0, 0.5, 1]", "1:37: degradation.span must have at most 2 values, not 3"),
        ("span: [0]", "degradation.span.1 is missing"),
        ("levels: 0", "1:39: degradation.levels must be at least 1, not 0"),
        ("levels: 2.5", "1:39: degradation.levels must be a whole number, not 2.5"),
        (
            "schedule: quadratic",
            "1:41: degradation.schedule must be 'linear', 'cosine' or 'exponential', not \"quadratic\"",
        ),
        ("schedule: 3", "1:41: degradation.schedule must be 'linear', 'cosine' or 'exponential' or a list, not 3"),
        ("schedule: [[0, 0]]", "1:41: degradation.schedule must have at least 2 values, not 1"),
        ("schedule: [[0, 0], [1, 2]]", "1:54: degradation.schedule.1.1 must be at most 1, not 2"),
        ("schedule: [[0, 0], [1]]", "1:50: degradation.schedule.1.1 is missing"),
        ("schedule: [[0, 0], [1, .inf]]", "1:54: degradation.schedule must be a finite number, not inf"),
        ("schedule: [[0.1, 0], [1, 1]]", "1:41: degradation: the knots of a schedule go from [0, 0] to [1, u]"),
        ("schedule: [[0, 0.1], [1, 1]]", "the knots of a schedule go from [0, 0]"),
        ("schedule: [[0, 0], [0.9, 1]]", "the knots of a schedule go from [0, 0] to [1, u]"),
        ("schedule: [[0, 0], [0.5, 0.5], [0.5, 0.6], [1, 1]]", "with t increasing"),
        ("schedule: [[0, 0], [0.5, 0.7], [1, 0.5]]", "the u of a schedule's knots must not fall"),
    ],
)
def test_host_keys_of_degradations(keys: str, expected: str) -> None:
    assert expected in problem(f"degradation: {{use: core.mask, {keys}}}")


def test_host_keys_that_are_right() -> None:
    (item,) = config(
        "degradation: {use: core.mask, span: [0.2, 0.8], schedule: [[0, 0], [0.5, 0.7], [1, 1]], levels: 10}"
    ).degradation
    assert (item.host.span, item.host.levels) == ((0.2, 0.8), 10)
    assert item.host.schedule == ((0.0, 0.0), (0.5, 0.7), (1.0, 1.0))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "version: 3\n"
        "degradation:\n"
        "  - {use: core.maks}\n"
        "  - {use: core.mask, sise: 1, size: 7, span: [1, 0]}\n"
        "train: {stepz: 1, steps: .inf, lr: x, ema: 5}\n"
        "data: {use: core.folder, size: -1}\n"
        "sampler: {use: core.cold, steps: x}\n"
        "nonsense: 1\n"
    )
    places = [one.split(": ")[0] for one in found]
    assert places == [
        "1:1",
        "3:11",
        "4:22",
        "4:37",
        "4:46",
        "5:9",
        "5:26",
        "5:36",
        "5:44",
        "6:7",
        "6:32",
        "7:34",
        "8:1",
    ]


def test_a_mistake_in_a_file_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"{MASK}train: {{lr: x}}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nseed: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(tmp_path / "top.yaml"))
    assert [str(p).split(": ")[0] for p in caught.value.problems] == [
        f"{tmp_path}/base.yaml:2:13",
        f"{tmp_path}/top.yaml:2:7",
    ]


def test_an_empty_key_is_like_an_absent_one() -> None:
    empty = "".join(f"{key}:\n" for key in KEYS if key != "degradation")
    assert config(MASK + empty) == config(MASK)


def test_defaults() -> None:
    made = config(MASK)
    for key, default in DEFAULTS.items():
        value = getattr(made, key)
        assert (
            [item.use for item in value] == [item["use"] for item in default]
            if key in LISTS
            else value.use == default["use"]
        )
    assert made.data is None and made.guidance is None and made.seed == 0 and not made.composed


def test_a_component_may_be_a_bare_name() -> None:
    assert config("degradation: mask\nsampler: cold") == config(
        "degradation: {use: core.mask}\nsampler: {use: core.cold}"
    )


def test_a_list_of_one_is_a_composition_and_a_mapping_is_not() -> None:
    assert config("degradation: [core.mask]").composed and not config(MASK).composed


def test_a_mixture_holds_its_members() -> None:
    (item,) = config(
        "degradation: {use: core.mixture, of: [{use: core.mask, size: 0.2}, {use: core.mixture, of: [mask]}]}"
    ).degradation
    assert item.of[0].params.size == 0.2 and item.of[1].of[0].use == "core.mask"


# --- pydantic's errors in our words

WRONG: list[Any] = [
    *(None, True, 7, -1, 10**30, 2.5, -1e9, 1e9, "", "x", "5", "\u00e9" * 300, [], {}, [[]], [{}], [1], [1, 2, 3]),
    *([-5, 5], ["a", "b"], [None, None], [[0.5, "x"]], [[0, 0, 0]], [[]] * 3, list(range(40)), {"a": 1}, {"a": None}),
    *({"a": {"b": []}}, {"": ""}, [[[[1]]]], [0.5, None], [True, False]),
]
"""Values of every kind, most of which are wrong for most keys."""


def every_parameter_class() -> list[type]:
    plugins = Registry().plugins.load_all()
    return [*SECTIONS.values(), *HOSTS.values(), PlainHost, *(s.params for p in plugins for s in p.specs.values())]


def test_every_error_of_every_parameter_has_a_sentence_of_its_own() -> None:
    """All that pydantic finds wrong with any value of any key is told in our words, with the key's place."""
    kinds = set()
    for cls in every_parameter_class():
        for f, wrong in ((f, wrong) for f in fields(cls) for wrong in WRONG):
            given = marked({f.name: wrong}, Mark("a.yaml", 1, 1)).entries
            try:
                adapter(cls).validate_json(json.dumps({f.name: wrong}), strict=True)
            except ValidationError as error:
                kinds |= {item["type"] for item in error.errors()}
                for where, text, mark in complaints(error, given):
                    assert re.match(r"(: \w| must (be|have) | is )", text), (cls, f.name, wrong, text)
                    assert not re.search("nput should|alid |Tuple|List|String|rray|[{}]|None", text), text
                    assert not where or all(isinstance(step, int) or step.isidentifier() for step in where[:1]), where
                    assert mark is not None or where[:1] != (f.name,), "a value that is there has a place"
    assert kinds <= {*EXPECTED, *STATED, *OWN_WORDS}, kinds
    assert len(kinds) >= 14


@dataclass(frozen=True)
class Inner:
    """A part.

    size: of it.
    """

    size: int = 0


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Unusual:
    """What our own parameters do not have, and a third party's may."""

    even: Annotated[int, MultipleOf(2)] = 0
    name: Annotated[str, MinLen(2), MaxLen(3)] = "ab"
    colour: Colour = Colour.RED
    inner: Inner = field(default_factory=Inner)
    either: int | str = 0
    never: None = None
    numbers: list[int] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    by_name: dict[str, Annotated[float, Lt(1)]] = field(default_factory=dict)
    deep: Literal["off"] | tuple[tuple[int, int], ...] = "off"
    when: datetime.date | None = None


@pytest.mark.parametrize(
    ("given", "where", "text"),
    [
        ({"even": 3}, "even", " must be a multiple of 2, not 3"),
        ({"name": "a"}, "name", " must have at least 2 characters"),
        ({"name": "abcd"}, "name", " must have at most 3 characters"),
        ({"colour": "green"}, "colour", " must be 'red' or 'blue', not \"green\""),
        ({"inner": 5}, "inner", " must be a mapping, not 5"),
        ({"inner": {"size": "x"}}, "inner.size", ' must be a whole number, not "x"'),
        ({"either": []}, "either", " must be a whole number or text, not a list"),
        ({"never": 0}, "never", " must be null, not 0"),
        ({"numbers": {}}, "numbers", " must be a list, not a mapping"),
        ({"numbers": [1, "x", 2, "y"]}, "numbers.1", ' must be a whole number, not "x"'),
        ({"tags": [1]}, "tags.0", " must be text, not 1"),
        ({"by_name": {"a": 0.5, "b": 1}}, "by_name.b", " must be less than 1, not 1"),
        ({"by_name": {"a": []}}, "by_name.a", " must be a number, not a list"),
        ({"deep": [[1, 2], [1, "x"], 3]}, "deep.1.1", ' must be a whole number, not "x"'),
        ({"deep": 5}, "deep", " must be 'off' or a list, not 5"),
        ({"when": "never"}, "when", ": input should be a valid date"),  # a type that is new to us: pydantic's own words
    ],
)
def test_errors_of_unusual_parameters(given: dict[str, Any], where: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter(Unusual).validate_json(json.dumps(given), strict=True)
    found = list(complaints(caught.value, parse_yaml(json.dumps(given), "a.yaml").entries))
    assert ".".join(map(str, found[0].where)) == where and found[0].text.startswith(text), found
    assert found[0].mark is not None and found[0].mark.column > 1


# --- extends


def folder_of(tmp_path: Path, **files: str) -> str:
    """Writes NAME.yaml for each; the path of `top`."""
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return str(tmp_path / "top.yaml")


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    top = folder_of(
        tmp_path,
        base="degradation: [core.mask, kornia.pixelate]\ntrain: {steps: 5, lr: 1e-2}\nseed: 4\n"
        "sampler: {use: core.cold, steps: 9}\n",
        top="extends: base.yaml\ndegradation: [core.desaturate]\ntrain: {steps: 6}\nsampler: {state: inferred}\n",
    )
    made, _ = load_config(top)
    assert [item.use for item in made.degradation] == ["core.desaturate"]
    assert (made.train.steps, made.train.lr, made.seed) == (6, 1e-2, 4)
    assert (made.sampler.params.steps, made.sampler.params.state) == (9, "inferred")


def test_a_component_of_another_name_replaces_and_one_of_the_same_name_merges(tmp_path: Path) -> None:
    base = "degradation: {use: core.mask, size: 0.3}\nsampler: cold\n"
    top = folder_of(
        tmp_path,
        base=base,
        top="extends: base.yaml\ndegradation: {use: core.desaturate, amount: 0.5}\nsampler: {steps: 3}\n",
    )
    made, _ = load_config(top)
    assert made.degradation[0].use == "core.desaturate" and made.sampler.params.steps == 3
    top = folder_of(tmp_path, base=base, top="extends: base.yaml\ndegradation: {use: mask, shape: half}\n")
    made, _ = load_config(top)
    assert (made.degradation[0].params.size, made.degradation[0].params.shape) == (0.3, "half")


def test_extends_goes_through_files_to_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "middle.yaml").write_text("extends: demo\nseed: 3\n")
    made, _ = load_config(folder_of(tmp_path, top="extends: below/middle.yaml\ntrain: {steps: 7}\n"))
    demo, _ = load_config("demo")
    assert (made.seed, made.train.steps) == (3, 7) and demo.train.lr != config(MASK).train.lr
    assert (made.train.lr, made.degradation, made.sampler) == (demo.train.lr, demo.degradation, demo.sampler)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"top": "extends: top.yaml"}, "top.yaml:1:1: top.yaml extends this file, so they go round in a circle"),
        ({"top": "extends: b.yaml", "b": f"{MASK}extends: ./top.yaml"}, "b.yaml:2:1: ./top.yaml extends this file"),
        ({"top": "seed: 1\nextends: absent.yaml"}, "top.yaml:2:10: extends: there is no file"),
        ({"top": "extends: [a, b]"}, "top.yaml:1:10: extends names one file or recipe"),
        ({"top": "extends: b.yaml", "b": "a: ["}, "b.yaml:1:5: not valid YAML"),
    ],
)
def test_extends_that_cannot_be_followed(files: dict[str, str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(RethawError) as caught:
        load_config(folder_of(tmp_path, **files))
    assert expected in str(caught.value)


def test_a_run_folder_is_its_resolved_yaml(tmp_path: Path) -> None:
    (tmp_path / "resolved.yaml").write_text(MASK)
    assert load_config(str(tmp_path))[0] == config(MASK)
    with pytest.raises(RethawError, match="is a folder without resolved"):
        load_config(str(tmp_path.parent))


# --- what is not there


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with YAML files and runs, in which rethaw is called."""
    for run in ("runs/deblur-cats", "runs/deblur-dogs", "old/denoise"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "resolved.yaml").write_text(MASK)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "portraits.yaml").write_text(MASK)
    (tmp_path / "mine.yaml").write_text(MASK)
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine.yml", "there is no file 'mine.yml'\n  Did you mean mine.yaml?"),
        ("configs/portrait.yaml", "there is no file 'configs/portrait.yaml'\n  Did you mean configs/portraits.yaml?"),
        ("config/portraits.yaml", "there is no file 'config/portraits.yaml'\n  There is no folder config either."),
        ("./deblur.yaml", "Did you mean deblur (a recipe)?"),
        ("deblurr", "there is no file 'deblurr' and no recipe 'deblurr'\n  Did you mean deblur (a recipe)?"),
        ("runs/deblur-cat", "Did you mean runs/deblur-cats"),
        ("deblur-cats", "Did you mean runs/deblur-cats"),
        ("runs", "runs is a folder without resolved.yaml, so it is no run\n  Runs here: "),
        ("zzzzzz", "The recipes are: "),
        ("photo.png", "photo.png:1:1: the file is not text in UTF-8"),
        ("", "is a folder without resolved.yaml"),
        ("~nobody-of-that-name/x.yaml", "There is no folder ~nobody-of-that-name either."),
        ("x" * 5000, "File name too long"),
        ("a\0b", "there is no file"),
        ("a\0/b.yaml", "there is no file"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_what_is(name: str, expected: str, here: Path) -> None:
    with pytest.raises(RethawError) as caught:
        load_config(name)
    assert expected in str(caught.value) and len(str(caught.value)) < 700


def test_files_runs_and_recipes_are_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    for name in ("mine.yaml", "configs/portraits.yaml", "runs/deblur-cats", "~/mine.yaml", "~/old/denoise", "demo"):
        assert load_config(name)[0].degradation
    for outside in ("../recipes/demo", "demo.yaml", "_cold-celeba/"):
        with pytest.raises(RethawError):
            load_config(outside)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("runs/deblur-cat", "Did you mean runs/deblur-cats"),
        ("deblur-dog", "Did you mean runs/deblur-dogs"),
        ("runs/debulr-dogs", "Did you mean runs/deblur-dogs"),
        ("old/denoize", "Did you mean old/denoise?"),
        ("owner/deblur-cats", "Did you mean runs/deblur-cats"),
        ("zzz", "Runs here: runs/deblur-cats, runs/deblur-dogs."),
        ("x" * 9000, "Runs here: "),
    ],
)
def test_the_nearest_runs(name: str, expected: str, here: Path) -> None:
    assert nearest_runs(name).startswith(expected)


# --- overrides

LIST = "degradation: [{id: blur, use: kornia.gaussian_blur}, core.mask]\n"


@pytest.mark.parametrize(
    ("text", "override", "read"),
    [
        (LIST, "degradation.blur.sigma_max=4", lambda c: c.degradation[0].params.sigma_max == 4),
        (LIST, "degradation.0.sigma_max=4", lambda c: c.degradation[0].params.sigma_max == 4),
        (LIST, "degradation.mask.size=0.9", lambda c: c.degradation[1].params.size == 0.9),
        (LIST, "degradation.1=core.desaturate", lambda c: c.degradation[1].use == "core.desaturate"),
        (LIST, "degradation=core.mask", lambda c: len(c.degradation) == 1),
        (
            LIST,
            "degradation=[core.mask, {use: kornia.pixelate, block_max: 4}]",
            lambda c: c.degradation[1].params.block_max == 4,
        ),
        (LIST, "degradation.blur.span=[0, 0.5]", lambda c: c.degradation[0].host.span == (0, 0.5)),
        (MASK, "degradation.size=0.9", lambda c: c.degradation[0].params.size == 0.9),
        (MASK, "degradation.mask.size=0.9", lambda c: c.degradation[0].params.size == 0.9),
        (
            "degradation: {use: core.mask, id: m}",
            "degradation.m.size=0.9",
            lambda c: c.degradation[0].params.size == 0.9,
        ),
        (
            "degradation: {use: core.mixture, of: [core.mask]}",
            "degradation.of.mask.size=0.9",
            lambda c: c.degradation[0].of[0].params.size == 0.9,
        ),
        (MASK, "train.steps=9", lambda c: c.train.steps == 9),
        (MASK, "train.lr=1e-3", lambda c: c.train.lr == 1e-3),
        (MASK + "train:", "train.steps=9", lambda c: c.train.steps == 9),
        (MASK, "sampler.steps=9", lambda c: c.sampler.params.steps == 9),
        (MASK + "sampler: cold", "sampler.steps=9", lambda c: c.sampler.params.steps == 9),
        (MASK + "sampler: {use: core.cold, steps: 3}", "sampler=core.direct", lambda c: c.sampler.use == "core.direct"),
        (MASK, "backbone.width=64", lambda c: c.backbone.params.width == 64),
        (MASK, "metrics=[]", lambda c: c.metrics == ()),
        (MASK, "metrics.rmse.id=error", lambda c: [m.id for m in c.metrics] == ["psnr", "ssim", "error"]),
        (MASK, "metrics=core.rmse", lambda c: [m.use for m in c.metrics] == ["core.rmse"]),
        (MASK, "seed=7", lambda c: c.seed == 7),
        (MASK, "data={use: core.folder, path: 'a=b.c'}", lambda c: c.data.params.path == Path("a=b.c")),
        (MASK + "seed: 7", "seed=", lambda c: c.seed == 0),
        (MASK, "degradation.levels=null", lambda c: c.degradation[0].host.levels is None),
    ],
)
def test_overrides(text: str, override: str, read: Any) -> None:
    assert read(config(text, override))


def test_overrides_apply_in_order_to_a_file_and_its_base(tmp_path: Path) -> None:
    top = folder_of(tmp_path, base=f"{MASK}train: {{steps: 5}}", top="extends: base.yaml")
    made, _ = load_config(top, ["train.steps=1", "train.steps=2", "data=core.folder", "data.path=photos"])
    assert made.train.steps == 2 and made.data is not None and made.data.params.path == Path("photos")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.steps", "an override is key=value, such as train.steps=1000"),
        ("=5", "an override is key=value"),
        ("train.stepz=5", "unknown key 'train.stepz'"),
        ("trian.steps=5", "unknown key 'trian'"),
        ("train.steps=x", 'train.steps must be a whole number, not "x"'),
        ("train.steps=", "train.steps must be a whole number, not null"),
        ("train.steps=[1", "not valid YAML: expected"),
        ("train.steps={a: 1, a: 2}", "the key 'a' stands here twice"),
        ("train.steps=!!python/name:os.system", "the tag !!python/name:os.system is not allowed"),
        ("train.steps=" + "[" * 9000, "this is nested more than 50 deep"),
        ("train=5", "train must be a mapping of keys, not 5"),
        ("train.steps.x=5", "train.steps must be a whole number, not a mapping"),
        ("degradation.snow.size=5", "degradation.snow: there is no item 'snow'; the items are blur, mask"),
        ("degradation.2.size=5", "there is no item '2'"),
        ("degradation.-1.size=5", "there is no item '-1'"),
        ("degradation.²=5", "there is no item '²'"),
        ("degradation.size=5", "there is no item 'size'"),
        ("version.x=1", "is a plain value"),
    ],
)
def test_overrides_that_are_wrong(override: str, expected: str) -> None:
    text = f"version: 1\ntrain: {{batch_size: 2}}\n{LIST}"
    message = problem(text, override)
    assert message.startswith(f"command line: {override[:40]}") and expected in message and len(message) < 400


TEXTS = [
    *("photos #1", "#1", "a: b", "a:b", "key: [1, 2", "-", "- x", "--out", "[x", "[x]", "{a}", "{", "}"),
    *("'x'", '"x', "it's", "''", '"', "yes", "no", "on", "true", "~x y", "!tag", "&a", "*a", "@x", "`x`", "%x"),
    *("|", ">", "?", ",", "a, b", "a=b", "=", "\\", "1", "007", "1e-4", ".5", "0x10", "2024-01-01", "1:30"),
    *(".inf", ".nan", "Null", "NULL", "nullable", "None", "---", "...", "a.b", "$HOME", "x" * 300),
    *(" spaced ", "a\tb", "two\nlines", "é 漢 😀", "e\u0301", "\u202eright", "\u2028"),
]
"""Texts, most of which are something else, or nothing at all, in YAML."""


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("key", "read"),
    [
        ("data.path", lambda c: c.data.params.path),
        ("degradation.path", lambda c: c.degradation[0].params.path),
        ("conditioner.field", lambda c: c.conditioner[0].params.field),
        ("guidance.negative.label", lambda c: c.guidance.negative["label"]),
    ],
)
def test_a_value_for_a_text_key_is_text_whatever_it_contains(key: str, read: Any, text: str) -> None:
    made = config(
        "degradation: {use: core.mask, shape: file}\ndata: core.folder\nguidance: {scale: 2}\nconditioner: core.label",
        "data.path=photos",
        "degradation.path=mask.png",
        f"{key}={text}",
    )
    found = read(made)
    assert found == type(found)(text)


def test_every_text_key_of_every_component_takes_text() -> None:
    seen = 0
    for cls in every_parameter_class():
        for name, kind in parameter_types(cls).items():
            if any(branch in (str, Path) for branch in union_members(kind)):
                seen += 1
                for text in TEXTS:
                    assert meant(parse_word(text, Mark("word")), kind).plain() == text, (cls, name)
    assert seen >= 15


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        *[(kind, word, None) for kind in (str | None, Path | None) for word in ("", "null")],
        (str, "", ""),
        (str, "null", "null"),
        (Path, "", None),  # a path is never empty: that would be the folder in which rethaw runs
        (Path, "null", "null"),
        (Path, "~/x", str(Path.home() / "x")),
        (Path, "~nobody-of-that-name/x", "~nobody-of-that-name/x"),
        (Path, "a~b", "a~b"),
        (str, "~/x", "~/x"),
        (int | str, "5", 5),
        (int | str, "5 #", "5 #"),
        (int | str, "x #1", "x #1"),
        (int | str, "null", "null"),
        (int | str | None, "null", None),
        (Any, "5", 5),
        (Any, "x #1", "x #1"),
        (Any, "[1, 2", "[1, 2"),
        (Any, "[1, 2]", [1, 2]),
        (str | tuple[str, ...], "[a, 1]", ["a", "1"]),
        (str | tuple[str, ...], "a #1", "a #1"),
        (tuple[str, ...], "[1, no, 1e3, null, 'a b', ~]", ["1", "no", "1e3", "null", "a b", "~"]),
        (tuple[str, int], "[1, 1, 1]", ["1", 1, 1]),
        (tuple[Path | None, ...], "[1, null, ~/x]", ["1", None, str(Path.home() / "x")]),
        (dict[str, str], "{a: 1, b: no}", {"a": "1", "b": "no"}),
        (dict[str, int], "{a: 1}", {"a": 1}),
        (Annotated[str, MinLen(1)], "5", "5"),
        (list[list[str]], "[[1], [2, x]]", [["1"], ["2", "x"]]),
        (Inner, "{size: 5}", {"size": 5}),
        (bool, "true", True),
        (Literal["1", "x"], "x", "x"),
        (float | None, "null", None),
    ],
    ids=str,
)
def test_the_type_of_a_key_says_what_a_word_means(kind: Any, word: str, value: Any) -> None:
    found = meant(parse_word(word, Mark("word")), kind).plain()
    assert found == value and type(found) is type(value)


def test_what_a_file_says_is_not_turned_into_text() -> None:
    assert problem("data: {use: core.folder, path: 5}\n" + MASK) == "1:32: data.path must be text, not 5"
    made = config(MASK + "data: {use: core.folder, path: ~/x}").data
    assert made is not None and made.params.path == Path.home() / "x"


@pytest.mark.parametrize(
    "word", ["train.steps=[1", "train=[1", "seed={", "version='", "sampler={use: [", "degradation=- a\nb"]
)
def test_what_is_no_yaml_for_a_key_that_takes_no_text(word: str) -> None:
    message = problem(MASK, word)
    assert message.startswith("command line: ") and "not valid YAML" in message


@pytest.mark.parametrize("text", ["a\0b", "\udcff", "\ud800x"])
def test_text_that_no_file_can_hold(text: str) -> None:
    assert "holds a character that no text has" in problem(MASK + "data: core.folder", f"data.path={text}")


def test_words_of_the_command_line_are_shown_without_what_a_terminal_obeys() -> None:
    assert "\x1b" not in problem(MASK, "\x1b[31m=1").partition(": ")[0] + problem(MASK, "train.steps=\x1b[2J")


def test_overrides_of_any_depth() -> None:
    deep = ".".join("a" * 5000)
    assert "no key of a pipeline lies more than 50 deep" in problem(MASK, f"train.steps.{deep}=1")
    assert "there is no item" in problem(LIST, f"degradation.{'9' * 9000}.size=1")
    assert "unknown key" in problem(MASK, "=".join(["train..steps", "1"]))
    assert "extends stands in a file only" in problem(MASK, "extends=demo")


def test_overrides_that_are_wrong_are_all_told() -> None:
    assert len(problems(LIST, "a", "degradation.x.y=1", "=b")) == 3


# --- dumps

unit = st.floats(0, 1)
words = st.text(st.characters(whitelist_categories=["L", "N", "P"]), min_size=1, max_size=6) | st.sampled_from(
    ["1e5", "0o7", "no", "~", "1:30"]
)
host = st.fixed_dictionaries(
    {},
    optional={
        "span": st.tuples(st.floats(0, 0.4), st.floats(0.5, 1)).map(list),
        "schedule": st.sampled_from(["linear", "cosine", "exponential"])
        | st.lists(unit, min_size=1, max_size=3).map(
            lambda us: [[i / len(us), u] for i, u in enumerate([0.0, *sorted(us)])]
        ),
        "levels": st.none() | st.integers(1, 1000),
        "id": st.from_regex("[a-z_][a-z0-9_]{0,5}", fullmatch=True),
    },
)
operator = st.one_of(
    st.builds(
        lambda **own: {"use": "core.mask", **own},
        size=st.floats(0.01, 1),
        shape=st.sampled_from(["bump", "box", "half"]),
    ),
    st.builds(
        lambda **own: {"use": "kornia.gaussian_blur", **own},
        sigma_max=st.floats(1e-9, 1e9),
        kernel_size=st.sampled_from([None, 3, 9]),
    ),
    st.builds(lambda **own: {"use": "gaussian_noise", **own}, alpha_bar=st.sampled_from(["cosine", "linear"])),
)
item = st.builds(lambda own, keys: {**own, **keys}, operator, host)
members = st.lists(item, min_size=1, max_size=3).map(
    lambda items: [{**one, "id": f"m{i}"} for i, one in enumerate(items)]
)
mixture = members.map(
    lambda items: {"use": "core.mixture", "of": items, "weights": [0.1 * (i + 1) for i in range(len(items))]}
)
configs = st.fixed_dictionaries(
    {"degradation": item | members | mixture},
    optional={
        "version": st.just(1),
        "seed": st.integers(-(2**62), 2**62),
        "data": st.fixed_dictionaries(
            {"use": st.just("core.folder"), "path": words.map("/data/{}".format), "size": st.integers(1, 99)}
        ),
        "sampler": st.sampled_from(["core.direct", "naive", {"use": "cold", "state": "inferred"}]),
        "observation": st.fixed_dictionaries(
            {}, optional={"bits": st.sampled_from([None, 8, 16]), "noise": st.floats(0, 1)}
        ),
        "conditioner": st.fixed_dictionaries(
            {"use": st.just("core.label"), "classes": st.lists(words, max_size=3), "drop": st.floats(0.01, 1)}
        ),
        "metrics": st.sampled_from([[], ["core.psnr"], "rmse", [{"use": "core.ssim", "id": "similarity"}]]),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "lr": st.floats(1e-12, 1e12),
                "steps": st.integers(1, 10**12),
                "loss": st.sampled_from(["l1", "l2"]),
            },
        ),
        "plugins": st.fixed_dictionaries(
            {}, optional={"block": st.lists(st.just("x"), max_size=1), "allow": st.none() | st.just(["kornia"])}
        ),
    },
)


@cache
def validator() -> Draft202012Validator:
    schema = json_schema(Registry())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@settings(deadline=None, max_examples=60)
@given(tree=configs)
def test_a_dump_loads_to_an_equal_config_and_fits_the_schema(tree: dict[str, Any]) -> None:
    made = config(json.dumps(tree, ensure_ascii=False))
    dumped = dump_config(made)
    assert config(dumped) == made
    assert dump_config(config(dumped)) == dumped
    for accepted in (tree, yaml.safe_load(dumped), parse_yaml(dumped, "dump").plain()):
        validator().validate(accepted)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes(name: str) -> None:
    path = recipe_path(name)
    assert path is not None
    text = path.read_text("utf-8")
    assert text.startswith("# ") and len(text.partition("\n")[0]) < 120, "the first line says what the recipe is"
    overrides = ["data.path=/photos"] if "core.folder" in text or "extends: " in text else []
    overrides += ["degradation.animal.path=/photos"] if "animorphosis" in name else []
    made, registry = load_config(name, overrides)
    dumped = dump_config(made)
    assert load_text(dumped)[0] == made
    validator().validate(parse_yaml(text, name).plain())
    validator().validate(parse_yaml(dumped, name).plain())
    for used in (made.backbone, made.sampler, *made.degradation, *made.metrics):
        assert registry.find(used.kind, used.use)[0] == used.use, "dumps give full names"


# --- the JSON Schema


@pytest.mark.parametrize(
    "text",
    [
        "train: {steps: 5}",
        f"{MASK}nonsense: 1",
        f"{MASK}train: {{stepz: 1}}",
        f"{MASK}train: {{steps: 0}}",
        f"{MASK}train: {{steps: '4'}}",
        f"{MASK}version: 2",
        f"{MASK}data: {{use: core.folder}}",
        f"{MASK}sampler: core.colld",
        f"{MASK}sampler: core.mask",
        "degradation: core.cold",
        "degradation: {use: core.mask, sise: 1}",
        "degradation: {use: core.mask, size: 2}",
        "degradation: {use: core.mask, span: [0, 2]}",
        "degradation: {use: core.mixture, of: []}",
        "degradation: {use: core.mixture, of: [{use: core.mask, sise: 1}]}",
        "degradation: {size: 1}",
    ],
)
def test_the_schema_refuses_what_loading_refuses(text: str) -> None:
    assert problems(text)
    assert not validator().is_valid(parse_yaml(text, "a.yaml").plain())


def test_the_schema_describes_every_component_and_key() -> None:
    schema = validator().schema
    assert set(schema["properties"]) == set(KEYS)
    assert all(part.get("description") for part in schema["properties"].values())
    registry = Registry()
    for kind in {*SINGLE.values(), *LISTS.values()}:
        named, *shapes = schema["$defs"][kind]["anyOf"]
        assert [shape["title"] for shape in shapes] == registry.names(kind)
        assert set(registry.names(kind)) <= set(named["enum"])
        for shape in shapes:
            assert shape["description"]
            for key, part in shape["properties"].items():
                assert part.get("description") or key in ("use", "of"), f"{shape['title']}: {key}"


# --- explanations


def explained(cls: type) -> None:
    docs = param_docs(cls)
    assert (cls.__doc__ or "").strip() and not (cls.__doc__ or "").startswith(f"{cls.__name__}("), cls
    assert {f.name for f in fields(cls)} == {name for name, text in docs.items() if text}, cls


@pytest.mark.parametrize("cls", [*SECTIONS.values(), *HOSTS.values(), PlainHost], ids=lambda cls: cls.__name__)
def test_every_key_is_explained(cls: type) -> None:
    explained(cls)


def test_every_top_level_key_is_explained_and_has_its_place() -> None:
    assert set(param_docs(Config)) | {"extends"} >= set(KEYS)
    assert {"version", "extends", "seed", *SECTIONS, *SINGLE, *LISTS} == set(KEYS)
    assert set(SINGLE.values()) | set(LISTS.values()) == {kind.name for kind in KINDS.values() if kind.yaml}
    assert {kind.yaml for kind in KINDS.values() if kind.yaml} | {"measurement"} == {*SINGLE, *LISTS}


def test_every_parameter_of_every_first_party_component_is_explained() -> None:
    registry, seen = Registry(), 0
    for plugin in registry.plugins.load_all():
        for spec in plugin.specs.values():
            assert is_dataclass(spec.params) and spec.params.__dataclass_params__.frozen, spec.name  # type: ignore[attr-defined]
            assert spec.summary.endswith(".") and len(spec.summary) < 80, spec.name
            explained(spec.params)
            seen += 1
    assert seen >= 17
