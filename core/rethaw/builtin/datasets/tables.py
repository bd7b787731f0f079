"""Text as people's programs write it, and tables of it: JSON lines and CSV, with the line of whatever is wrong."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rethaw.api import RethawError

Row = tuple[int, Mapping[str, Any]]
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UTF8_LETTER = re.compile(rb"[\xc3-\xde][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}|[\xf1-\xf4][\x80-\xbf]{3}")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
ENCODINGS = "Save it as UTF-8; UTF-16 and Windows-1252 are read too."


def read_text(path: Path) -> str:
    """A text file in UTF-8, UTF-16, UTF-32 or Windows-1252, with `\\n` as its line ends.

    Raises RethawError that names file and line where it is none of them.
    """
    data = path.read_bytes()
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RethawError(f"{path}:{line} is not text in an encoding that is read", ENCODINGS) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if control := CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise RethawError(f"{path}:{line} is not text: it has the control character {control[0]!r}", ENCODINGS)
    return text


def encoding_of(data: bytes) -> str:
    """By its mark, by where it has zeros, or by what is valid."""
    for bom, name in BOMS.items():
        if data.startswith(bom):
            return name
    even, odd = data[::2].count(0), data[1::2].count(0)
    if 8 * min(even, odd) < max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        data.decode()
    except UnicodeDecodeError:
        faults = data.decode(errors="replace").count("\ufffd")
        return "cp1252" if faults > len(UTF8_LETTER.findall(data)) else "utf-8"  # with a fault, which is then found
    return "utf-8"


def read_table(path: Path) -> Iterator[Row]:
    """The rows of a .jsonl or .csv file as (line, columns). Raises RethawError that names file and line."""
    return csv_rows(path) if path.suffix.lower() == ".csv" else json_rows(path)


def json_rows(path: Path) -> Iterator[Row]:
    """One JSON object a line; only `\\n` ends a line, whatever else Unicode takes for one."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RethawError(f"{path}:{number} is not a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise RethawError(f"{path}:{number} is not a JSON object")
        yield number, row


def csv_rows(path: Path) -> Iterator[Row]:
    """Rows under a line of column names, parted by commas, or by the semicolons or tabs of a spreadsheet."""
    text = read_text(path)
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not columns:
                columns = [name.strip().lower() for name in cells]
            elif cells:
                yield reader.line_num, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise RethawError(f"{path}:{reader.line_num} is not CSV: {error}") from error
