"""The playground: what its page does, without a page; and the page, in a real browser."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rethaw as package
from rethaw.api import RethawError
from rethaw.config import load_text
from rethaw.web.controls import controls, parsed
from rethaw.web.studio import SIDE, Studio, upload
from tests.helpers import env, photos, recipe, rethaw

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures good and bad."""
    folder = tmp_path_factory.mktemp("playground")
    photos(folder / "photos", size=(300, 200))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 500)
    Image.new("1", (10_000, 10_000)).save(folder / "huge.png")
    return folder


@pytest.fixture(scope="module")
def run(work: Path) -> str:
    """A run that was trained for two steps."""
    path = recipe(work, work / "photos", "{use: kornia.gaussian_blur}")
    rethaw("train", path, "--out", work / "run", "train.steps=2", cwd=work)
    return str(work / "run")


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio([])


def test_every_parameter_of_every_component_has_a_control(studio: Studio) -> None:
    """Within its bounds, at its default; and the YAML of any stack validates."""
    for name in studio.names("degradation"):
        spec = studio.registry.find("degradation", name)[1]
        for each in controls(spec):
            if each.kind == "number":
                assert each.low <= each.value <= each.high and each.low < each.high, (name, each)
            if each.kind == "choice":
                assert each.value in each.choices, (name, each)
            assert each.about, (name, each.name)
        config, _ = load_text(studio.text([(name, {}), (name, {})]))
        assert [item.use for item in config.degradation] == [name, name]


def test_what_is_set_is_in_the_yaml_and_nothing_else(studio: Studio) -> None:
    text = studio.text([("kornia.gaussian_blur", {"sigma_max": 7.5}), ("core.desaturate", {"amount": 1.0})])
    assert "- {use: kornia.gaussian_blur, sigma_max: 7.5}\n" in text and "- {use: core.desaturate}\n" in text
    x0 = upload(None)
    assert torch.equal(studio.degrade(text, x0, 0.0, 0), x0)
    heavy, mild = (studio.degrade(text, x0, t, 0) - x0 for t in (1.0, 0.2))
    assert heavy.square().mean() > mild.square().mean() > 0
    assert parsed("[0.1, 2]") == [0.1, 2] and parsed("a: b: c") == "a: b: c"


def test_uploads_are_bounded_and_refused_in_words(work: Path) -> None:
    assert max(upload(str(work / "photos" / "0.png")).shape) == SIDE
    assert upload(str(work / "photos" / "0.png"), channels=1).shape[0] == 1
    Image.new("RGB", (3000, 2)).save(work / "wire.png")
    assert upload(str(work / "wire.png")).shape == (3, 1, SIDE)
    with pytest.raises(RethawError, match=r"10000 × 10000 pixels are too many"):
        upload(str(work / "huge.png"))
    with pytest.raises(RethawError, match=r"no image that can be read|damaged"):
        upload(str(work / "bad.png"))


@pytest.mark.long
def test_a_restoration_is_that_of_the_pipeline(work: Path, run: str) -> None:
    studio, x0 = Studio([run]), upload(str(work / "photos" / "0.png"))
    walked = studio.restore(run, x0, 0.7, "core.cold", 4, True, 3)
    pipeline = package.Pipeline.load(run)
    x, state = pipeline.degrade(x0[None], 0.7, 3)
    *_, end = pipeline.trajectory(x, 0.7, state, sampler="core.cold", steps=4, seed=3)
    assert torch.equal(walked.degraded, x[0]) and torch.equal(walked.restored, end.x[0])
    assert [round(t, 3) for t, *_ in walked.stations] == [0.7, 0.525, 0.35, 0.175, 0.0]
    assert studio.generate(run, 2, 3, 0).shape[0] == 2
    with pytest.raises(RethawError, match="rethaw serve runs/mine"):
        studio.restore("another", x0, 0.7, "core.cold", 4, True, 3)


# --- the page -----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def address(work: Path, run: str) -> Iterator[str]:
    """The address of a page that a real `rethaw serve` serves."""
    port = free_port()
    command = [sys.executable, "-m", "rethaw.cli.main", "serve", "run", "--port", str(port)]
    with (work / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=work, env=env(), stdout=log, stderr=log)
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            assert server.poll() is None, (work / "log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
        assert server.poll() is None, "the server has ended"
    finally:
        server.terminate()
        server.wait(20)
    assert "Traceback" not in (work / "log").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with driver.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit(browser: Any, address: str, width: int = 1200) -> Any:
    """A visitor who sees the first picture."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector("#degraded img", timeout=60_000)
    return page


def picture(page: Any, where: str) -> str:
    return str(page.locator(f"{where} img").first.get_attribute("src"))


def until(changed: Any) -> None:
    """Waits until something holds."""
    for _ in range(300):
        if changed():
            return
        time.sleep(0.1)
    raise AssertionError("nothing happened within 30 seconds")


@pytest.mark.long
def test_a_visitor_degrades_and_the_yaml_trains(work: Path, address: str, browser: Any) -> None:
    page = visit(browser, address)
    first = picture(page, "#degraded")
    page.set_input_files("input[type=file] >> nth=0", work / "photos" / "0.png")
    until(lambda: picture(page, "#degraded") != first)
    second = picture(page, "#degraded")
    page.locator("#severity input[type=number]").fill("0.2")
    page.locator("#severity input[type=number]").press("Enter")
    until(lambda: picture(page, "#degraded") != second)
    page.get_by_label("number input for sigma_max").fill("6")
    page.get_by_label("number input for sigma_max").press("Enter")
    until(lambda: "sigma_max: 6" in page.locator("#yaml .cm-content").inner_text())
    text = "\n".join(page.locator("#yaml .cm-line").all_inner_texts())
    (work / "my.yaml").write_text(text)
    small = ["train.steps=1", "train.batch_size=2", "backbone.width=8", "data.size=16"]
    rethaw("train", "my.yaml", "--out", "mine", *small, cwd=work)


@pytest.mark.long
def test_a_visitor_restores_scrubs_compares_and_generates(work: Path, address: str, browser: Any) -> None:
    page = visit(browser, address)
    page.get_by_role("tab", name="Restore").click()
    page.click("#restore")
    page.wait_for_selector("#xt img", timeout=60_000)
    at_start = picture(page, "#xt")
    page.locator("#scrub input[type=number]").fill("10")
    page.locator("#scrub input[type=number]").press("Enter")
    until(lambda: picture(page, "#xt") != at_start)
    command = page.locator("#command .cm-content").inner_text()
    assert "--severity 0.7 --sampler core.cold --steps 10" in command
    words = command.replace("photo.png", str(work / "photos" / "0.png")).split()
    rethaw(*words[1:], "--out", "restored", cwd=work)
    page.get_by_role("tab", name="Compare").click()
    page.click("#compare")
    until(lambda: page.locator("#sheet img").count() >= 5)
    page.get_by_role("tab", name="Generate").click()
    page.click("#generate")
    until(lambda: page.locator("#generated img").count() >= 8)


@pytest.mark.long
@pytest.mark.parametrize(("name", "said"), [("bad.png", "no image|damaged"), ("huge.png", "pixels are too many")])
def test_a_bad_upload_is_told_and_stops_nobody(work: Path, address: str, browser: Any, name: str, said: str) -> None:
    page, other = visit(browser, address), visit(browser, address)
    page.set_input_files("input[type=file] >> nth=0", work / name)
    page.wait_for_selector(".toast-body", timeout=60_000)
    assert re.search(said, page.locator(".toast-body").first.inner_text())
    before = picture(other, "#degraded")
    other.locator("#severity input[type=number]").fill("1")
    other.locator("#severity input[type=number]").press("Enter")
    until(lambda: picture(other, "#degraded") != before)


@pytest.mark.long
def test_it_fits_a_phone_and_two_visitors_wait_for_each_other(address: str, browser: Any) -> None:
    visitors = [visit(browser, address, width) for width in (390, 1200)]
    for page in visitors:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
        page.get_by_role("tab", name="Restore").click()
    for page in visitors:
        page.click("#restore")
    for page in visitors:
        page.wait_for_selector("#xt img", timeout=120_000)
