"""What the site does to pages that are also read in the repository."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")
FILE = re.compile(r"^<!-- .*? -->\n", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the repository that are no pages become their names; comments for tests go."""
    return FILE.sub("", OUTSIDE.sub(lambda m: f"{m[1].strip('`')} (`{m[2]}`)", markdown))
