"""Captions and tables as other programs write them: encodings, line ends, names; faults are told with their line."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.datasets.tables import read_table, read_text
from tests.helpers import photos

LATIN = "ein Kätzchen auf dem Spaß” – «très» cher, 5 €"
WORLD = "котик на ковре — 猫がいる ☂ 🐈"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
BREAKS = "one\u2028two\u2029three\u0085four\x0bfive\x0csix"
"""What Unicode takes for ends of lines, and JSON and CSV do not."""


def captions(path: Path, source: str) -> dict[str, str]:
    data: Any = rethaw.build("dataset", "core.folder", path=str(path), size=8, captions=source)
    return {data.listing.relative(file): text for file, text in zip(data.files, data.captions, strict=True)}


def rows_as(kind: str, rows: list[dict[str, str]]) -> str:
    """A table as JSON lines, or as CSV with a separator."""
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=kind[-1], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# --- encodings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ["a plain cat", LATIN, WORLD], ids=["ascii", "latin", "world"])
def test_a_text_is_the_same_in_every_encoding(text: str, encoding: str, ends: str, tmp_path: Path) -> None:
    if encoding == "cp1252" and text == WORLD:
        return
    if encoding in ("utf-16-le", "utf-16-be") and text == WORLD:
        text = "a " + text + " and more of it"  # without a mark it is known by its zeros
    photos(tmp_path, 1)
    (tmp_path / "0.txt").write_bytes(f"{text}\nsecond line\n".replace("\n", ends).encode(encoding))
    assert captions(tmp_path, "sidecar") == {"0.png": f"{text}\nsecond line"}


@pytest.mark.parametrize("kind", ["jsonl", "csv,", "csv;", "csv\t"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_is_the_same_in_every_encoding(encoding: str, ends: str, kind: str, tmp_path: Path) -> None:
    photos(tmp_path, 3)
    rows = [{"file_name": f"{i}.png", "text": text} for i, text in enumerate([LATIN, 'a "quoted", cat; a\ttab', "c"])]
    text = rows_as(kind, rows).replace("\n", ends)
    (tmp_path / f"metadata.{kind.rstrip(',;')[:5].strip()}").write_bytes(text.encode(encoding))
    assert captions(tmp_path, "metadata") == {row["file_name"]: row["text"] for row in rows}


@pytest.mark.parametrize("kind", ["jsonl", "csv,"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_only_line_feeds_end_a_row(encoding: str, kind: str, tmp_path: Path) -> None:
    photos(tmp_path, 2)
    text = rows_as(kind, [{"file_name": "0.png", "text": BREAKS}, {"file_name": "1.png", "text": "two"}])
    (tmp_path / f"metadata.{kind.rstrip(',')}").write_bytes(text.encode(encoding))
    assert captions(tmp_path, "metadata") == {"0.png": BREAKS, "1.png": "two"}


def test_a_cell_may_have_line_ends(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    (tmp_path / "metadata.csv").write_bytes(b'\xef\xbb\xbf"Text", FILE_NAME \r\n"first\r\nsecond",0.png\r\n\r\n')
    assert captions(tmp_path, "metadata") == {"0.png": "first\nsecond"}


# --- names ------------------------------------------------------------------------------------------------------

FORMS = ("NFC", "NFD")


@pytest.mark.parametrize("source", ["sidecar", "metadata"])
@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("written", FORMS)
def test_composed_and_decomposed_names_are_one(written: str, stored: str, source: str, tmp_path: Path) -> None:
    name, place = (unicodedata.normalize(stored, text) for text in ("Ångström é.png", "Café 한국"))
    other, there = (unicodedata.normalize(written, text) for text in (name, place))
    photos(tmp_path / place, 1)
    (tmp_path / place / "0.png").rename(tmp_path / place / name)
    if source == "sidecar":
        (tmp_path / place / other).with_suffix(".txt").write_text("a cat")
    else:
        (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": f"{there}/{other}", "text": "a cat"}))
    assert captions(tmp_path, source) == {f"{place}/{name}": "a cat"}


@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_composed_and_decomposed_labels_are_one(asked: str, stored: str, tmp_path: Path) -> None:
    photos(tmp_path / unicodedata.normalize(stored, "Café"), 1)
    photos(tmp_path / "tea", 1)
    data: Any = rethaw.build("dataset", "core.folder", path=str(tmp_path), size=8, captions="a {label}")
    assert data.classes == ["Café", "tea"] and data.captions == ["a Café", "a tea"]
    label = rethaw.build("conditioner", "core.label", classes=[unicodedata.normalize(stored, "Café"), "tea"])
    vector = label.encode([unicodedata.normalize(asked, "Café")], "cpu", None)["vector"]
    assert vector.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "name", ["cat\\\\0.png", "./cat/0.png", "cat/../cat/0.png", "dog/../cat/0.png", "linked/0.png", "{root}/cat/0.png"]
)
def test_ways_to_write_a_path(name: str, tmp_path: Path) -> None:
    photos(tmp_path / "data" / "cat", 1)
    (tmp_path / "data" / "linked").symlink_to("cat")
    text = f'{{"file_name": "{name.format(root=tmp_path / "data")}", "text": "a cat"}}'
    (tmp_path / "data" / "metadata.jsonl").write_text(text)
    assert captions(tmp_path / "data", "metadata") == {"cat/0.png": "a cat"}
    (tmp_path / "way").symlink_to("data")
    assert captions(tmp_path / "way", "metadata") == {"cat/0.png": "a cat"}


def test_tables_in_linked_folders_are_read(tmp_path: Path) -> None:
    photos(tmp_path / "store", 2)
    (tmp_path / "store" / "Metadata.CSV").write_text("file_name,caption\n0.png,one\n1.png,two\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "store")
    assert captions(tmp_path / "data", "metadata") == {"cat/0.png": "one", "cat/1.png": "two"}


def test_texts_beside_images_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    (tmp_path / "0.TXT").write_text("upper")
    (tmp_path / "1.txt").write_text("lower")
    (tmp_path / "2.png").rename(tmp_path / "a.b.c.PNG")
    (tmp_path / "a.b.c.txt").write_text("dots")
    assert list(captions(tmp_path, "sidecar").values()) == ["upper", "lower", "dots"]


# --- faults -----------------------------------------------------------------------------------------------------

NOT_TEXT = {
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), 4),
    "UTF-8 cut short": ("erste Zeile\nschön, größer, Öl und é".encode()[:-1], 2),
    "one wrong byte in UTF-8": ("Kätzchen\nschön\n".encode() + b"gr\xff\xc3\xb6\xc3\x9fer", 3),
    "undefined in Windows-1252": (b"one\ntwo\nthree \x81\n", 3),
    "control characters": (b"one\nt\x1bwo", 2),
    "UTF-16 cut short": ("one\ntwo".encode("utf-16")[:-1], 2),
    "zeros": (b"one\0two", 1),
}


@pytest.mark.parametrize("what", NOT_TEXT)
@pytest.mark.parametrize("name", ["0.txt", "metadata.jsonl", "metadata.csv"])
def test_what_is_no_text_is_named_with_its_line(name: str, what: str, tmp_path: Path) -> None:
    content, line = NOT_TEXT[what]
    photos(tmp_path, 1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RethawError, match=rf"{name}:{line} is not text") as raised:
        captions(tmp_path, "sidecar" if name == "0.txt" else "metadata")
    assert "UTF-8" in raised.value.hint


@pytest.mark.parametrize(
    "name, text, line",
    [
        ("metadata.jsonl", '{"file_name": "0.png", "text": "a"}\n\n{"file_name": 0.png}', 3),
        ("metadata.jsonl", '\u2028\n{"file_name": "0.png"\n', 2),
        ("metadata.jsonl", '["0.png", "a"]', 1),
        ("metadata.jsonl", '{"file_name": "0.png", "text": "a"}\n"0.png"', 2),
        ("metadata.jsonl", '{"file_name": "a\\u0000b.png", "text": "a"}', 1),
        ("metadata.jsonl", '{"file_name": "0.png", "text": "a", "x": ' + "[" * 100_000, 1),
        ("metadata.jsonl", '{"file": "0.png", "text": "a"}', 1),
        ("metadata.csv", 'file_name,text\n0.png,a\n1.png,"b', 3),
        ("metadata.csv", 'file_name,text\n0.png,"a"b\n', 2),
        ("metadata.csv", "name,text\n0.png,a\n", 2),
        ("metadata.csv", "file_name,text\n0.png," + "a" * 200_000, 2),
    ],
)
def test_faults_in_tables_are_named_with_their_line(name: str, text: str, line: int, tmp_path: Path) -> None:
    photos(tmp_path, 2)
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(RethawError, match=rf"{name}:{line} is not "):
        captions(tmp_path, "metadata")


def test_rows_without_a_caption_are_images_without_one(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    (tmp_path / "metadata.csv").write_text("file_name,text\n0.png\n1.png,\n2.png,there,is,more\n")
    with pytest.raises(RethawError, match=r"2 of 3 images have no caption: 0\.png, 1\.png"):
        captions(tmp_path, "metadata")


def test_a_table_gives_its_rows_and_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a;b\n1;"x\ny"\n\n2;z\n')
    assert list(read_table(tmp_path / "t.csv")) == [(3, {"a": "1", "b": "x\ny"}), (5, {"a": "2", "b": "z"})]
    (tmp_path / "t.jsonl").write_text('\n{"a": 1}\n \n{"b": null}')
    assert list(read_table(tmp_path / "t.jsonl")) == [(2, {"a": 1}), (4, {"b": None})]
    (tmp_path / "e.csv").write_text("")
    assert list(read_table(tmp_path / "e.csv")) == [] and read_text(tmp_path / "e.csv") == ""
