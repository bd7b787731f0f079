"""Compiling takes seconds each, so it is among the long tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "plugins/imagenet_c" in item.nodeid and "-compiles-" in item.nodeid:
            item.add_marker(pytest.mark.long)
