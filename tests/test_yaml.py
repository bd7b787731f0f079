"""YAML as rethaw reads it: 1.2 scalars, places, and everything that a config never needs refused, quickly."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rethaw.api import RethawError
from rethaw.config.dump import Dumper
from rethaw.config.marks import Mark
from rethaw.config.yaml import (
    MAX_BYTES,
    MAX_NODES,
    ConfigError,
    Converter,
    FastLoader,
    Loader,
    parse_word,
    parse_yaml,
    read_yaml,
)


def value(text: str) -> Any:
    return parse_yaml(f"key: {text}", "file.yaml").plain()["key"]


def told(text: str) -> str:
    """The one mistake in a YAML text; fails if there is none, or if it takes long to find."""
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "file.yaml")
    assert time.process_time() - began < 5
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("2.0e-4", 2e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+3.25", 3.25),
        ("0.0", 0.0),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("007", 7),
        ("0o17", 15),
        ("0xff", 255),
        (str(2**63 - 1), 2**63 - 1),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("e5", "e5"),
        (".", "."),
        ("=", "="),
        ("-x", "-x"),
        ("'4'", "4"),
        ('"true"', "true"),
        ("'~'", "~"),
        ("x0", "x0"),
        ("1.2.3", "1.2.3"),
        ("é 漢", "é 漢"),
        ("[1, 1e-3, a, no]", [1, 1e-3, "a", "no"]),
        ("{a: 1, b: {c: on}}", {"a": 1, "b": {"c": "on"}}),
    ],
)
def test_scalars_of_yaml_1_2(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected and type(found) is type(expected)


def test_infinite_and_no_number() -> None:
    assert value(".inf") == math.inf and value("-.Inf") == -math.inf and math.isnan(value(".nan"))
    assert value("inf") == "inf" and value("nan") == "nan"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: 2\r\n")
    found = read_yaml(tmp_path / "a.yaml")
    assert found.plain() == {"a": 1, "b": {"c": 2}}
    assert (found.value["b"].value["c"].mark.line, found.value["b"].value["c"].mark.column) == (3, 6)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "file.yaml:1:1: the file is empty"),
        ("# nothing\n", "file.yaml:1:1: the file is empty"),
        ("- 1\n", "file.yaml:1:1: a pipeline is a mapping"),
        ("word", "file.yaml:1:1: a pipeline is a mapping"),
        ("a: 1\nb: 2\na: 3\n", "file.yaml:3:1: the key 'a' stands here twice (first at file.yaml:1:1)"),
        ("a:\n  b: 1\n  b: 2\n", "file.yaml:3:3: the key 'b' stands here twice"),
        ("a: [1, {b: 1, b: 2}]\n", "file.yaml:1:15: the key 'b'"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "file.yaml:1:4: the tag !!python/object/apply:os.system is not allowed",
        ),
        ("a: !include b.yaml\n", "file.yaml:1:4: the tag !include is not allowed"),
        ("a: !!str 4\n", "file.yaml:1:4: the tag !!str is not allowed"),
        ("a: !!bool nonsense\n", "the tag !!bool is not allowed"),
        ("a: !!binary aGk=\n", "the tag !!binary is not allowed"),
        ("!!map {a: 1}\n", "file.yaml:1:1: the tag !!map is not allowed"),
        ("a: ! 5\n", "the tag ! is not allowed"),
        ("!x a: 1\n", "file.yaml:1:1: the tag !x is not allowed"),
        ("a: 1\n<<: {b: 1}\n", "file.yaml:2:1: <<, which merges mappings, is not allowed\n    Write its keys out here"),
        ("a: {<<: [*b, *c]}\n", "file.yaml:1:10: not valid YAML: found undefined alias 'b'"),
        ("b: &b {x: 1}\na:\n  <<: *b\n  y: 2\n", "file.yaml:3:3: <<, which merges mappings, is not allowed"),
        ("? [a]\n: 1\n", "file.yaml:1:3: a key must be a plain word"),
        ("? {a: b}\n: 1\n", "a key must be a plain word"),
        ("a: *b\n", "file.yaml:1:4: not valid YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 1\n", "file.yaml:2:1: not valid YAML"),
        ("a:\n\tb: 1\n", "file.yaml:2:1: not valid YAML"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: 'open\n", "not valid YAML"),
        ("a: 1\n b: 2\n", "file.yaml:2:3: not valid YAML"),
        ("a: 1\nb: \x07\n", "file.yaml:2:4: not valid YAML: the character U+0007 is not allowed"),
        ('a: "\\UFFFFFFFF"\n', "stands for no character"),
        ('a: "\\U00110000"\n', "stands for no character"),
        ('a: "\\0"\n', "file.yaml:1:4: the text holds a character that no text has"),
        ('a: "\\ud800"\n', "the text holds a character that no text has"),
        ("a: 99999999999999999999\n", "file.yaml:1:4: 99999999999999999999 is too large a number"),
        (f"a: -{'9' * 9000}\n", "is too large a number"),
        (f"a: 0x{'f' * 9000}\n", "is too large a number"),
        (BOMB, "aliases unfold into more than"),
        ("a: &a [*a]\n", "file.yaml:1:4: aliases unfold into more than 20000 values, or into themselves"),
        ("a: &a {b: {c: *a}}\n", "or into themselves"),
        ("[" * 5000, "file.yaml:1:51: not valid YAML: this is nested more than 50 deep"),
        ("{a: " * 5000, "nested more than 50 deep"),
        ("- " * 5000, "nested more than 50 deep"),
    ],
)
def test_what_is_refused(text: str, expected: str) -> None:
    assert expected in told(text)


def test_many_values_are_refused_before_they_are_all_read() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"a: [{'1,' * 400_000}]", "file.yaml")
    assert f"more than {MAX_NODES} values" in str(caught.value)


def test_all_mistakes_are_told_at_once_in_their_order() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a: !x 1\nb: 1\nb: 2\nc: 99999999999999999999\n", "file.yaml")
    assert [(p.mark.line, p.mark.column) for p in caught.value.problems] == [(1, 4), (3, 1), (4, 4)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "a.yaml:1:1: the file is not text in UTF-8"),
        ("a: é".encode("latin-1"), "a.yaml:1:4: the file is not text in UTF-8"),
        ("é: 1\nb: é ".encode() + b"\xe9", "a.yaml:2:6: the file is not text in UTF-8"),
        ("a: 1".encode("utf-16"), "a.yaml:1:1: the file is not text in UTF-8\n    Save it as UTF-8."),
        (b"# " + b"x" * MAX_BYTES, "is larger than 1000 kB"),
    ],
)
def test_files_that_are_no_yaml(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(RethawError) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert expected in str(caught.value) and "a.yaml" in str(caught.value)


def test_a_place_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(RethawError) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value)


LONG = {
    "many items": "a: [" + "core.psnr," * 19_000 + "]",
    "many keys": "".join(f"key{i}: {'v' * 40}\n" for i in range(9_000)),
    "a long word": "a: " + "x" * 900_000,
    "a long quoted text": "a: '" + "a b " * 200_000 + "'",
    "a text of many lines": "a: |\n" + "  line\n" * 100_000,
    "comments": "a: 1\n" + "# c\n" * 200_000,
    "empty lines": "\n" * 900_000 + "a: 1\n",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_large_files_take_less_than_a_second(text: str) -> None:
    began = time.process_time()
    assert parse_yaml(text, "file.yaml").entries
    assert time.process_time() - began < 2  # without other load less than 0.3


DIALECT = "a: |\n  x\n  y\nb: >-\n  fold\n  ed\nc: [1, 'a b', \"c\\td\"]\n? d\n: {e: &x 1, f: *x}\n# c\n'g': é 漢\n"


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(DIALECT)), st.sampled_from("ab1 \n:-#[]{}&*|>'\"%?,~.é")), max_size=4))
def test_the_fast_reader_reads_what_pyyaml_reads(changes: list[tuple[int, str]]) -> None:
    text = DIALECT
    for at, character in changes:
        text = text[:at] + character + text[at + 1 :]
    try:
        slow = yaml.compose(text, Loader=Loader)
        fast = yaml.compose(text, Loader=cast("Any", FastLoader))
    except yaml.YAMLError:
        return  # then the slow reader says what is wrong
    assert slow is not None and fast is not None
    converters = Converter("f"), Converter("f")
    with suppress(ConfigError):
        assert converters[0].convert(slow, ()).plain() == converters[1].convert(fast, ()).plain()
        assert len(converters[0].problems) == len(converters[1].problems)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_data_or_one_clear_error(text: str) -> None:
    assert parse_word(text, Mark("word")).text == text
    try:
        parse_yaml(text, "file.yaml")
    except ConfigError as error:
        assert str(error).startswith("file.yaml:")


# PyYAML folds the line ends of Unicode, U+0085, U+2028 and U+2029, into blanks
scalars = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False)
numberlike = st.from_regex(r"[-+.0-9eExo_:nyNY~]{1,6}", fullmatch=True)
texts = numberlike | st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\x85\u2028\u2029"), max_size=8
)


@settings(deadline=None)
@given(
    st.recursive(scalars | texts, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
)
def test_what_is_written_is_read_again(data: Any) -> None:
    written = yaml.dump({"key": data}, Dumper=Dumper, allow_unicode=True, default_flow_style=None)
    assert parse_yaml(written, "file.yaml").plain() == {"key": data}
