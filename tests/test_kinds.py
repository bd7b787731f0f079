"""The page of kinds names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_test_of_the_page_of_kinds_is_there() -> None:
    named = re.findall(r"`([\w./]+\.py)::(\w+)`", (HERE / "KINDS.md").read_text(encoding="utf-8"))
    assert len(named) > 50
    assert not [f"{file}::{name}" for file, name in named if f"def {name}(" not in (HERE / file).read_text("utf-8")]
