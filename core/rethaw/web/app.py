"""The page of `rethaw serve`, by gradio: four tabs over a `Studio`."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from PIL import Image

from rethaw.api import RethawError
from rethaw.pictures import to_pil
from rethaw.web.controls import Control, controls, parsed
from rethaw.web.studio import Studio, upload

TITLE = "rethaw: degrade and restore images"
CSS = """
footer {display: none !important}
.gradio-container {max-width: 1100px !important; margin: auto !important}
@media (max-width: 700px) {
  .row, .form {flex-direction: column !important}
  .row > *, .form > * {width: 100% !important; min-width: 0 !important}
  .wrap, .contain, .column, .block, .tabs, .codemirror-wrapper {max-width: calc(100vw - 64px) !important}
  .cm-scroller {overflow-x: auto !important}
}
"""
NO_RUN = (
    "No run was named, so this tab only degrades. Train one, then start the page with it:\n\n    rethaw serve runs/mine"
)
Given = Mapping[str, Mapping[str, Any]]


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Errors become a message on the page: what, and how to mend it. The server goes on."""

    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        try:
            return function(*args)
        except RethawError as error:
            raise gr.Error(f"{error.message}. {error.hint or ''}".strip(), print_exception=False) from error
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            raise gr.Error(f"{type(error).__name__}: {error}", print_exception=False) from error

    return wrapped


class Page:
    """Builds the page. Everything that a visitor does is a function of what is on their page alone."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.runs = studio, list(studio.runs)
        self.page = gr.Blocks(title=TITLE, analytics_enabled=False)

    def blocks(self) -> gr.Blocks:
        """The whole page; one request at a time gets the processor, the others wait in a queue."""
        with self.page:
            gr.Markdown("# rethaw\nDegrade an image, restore it, and copy the YAML and the commands that do the same.")
            with gr.Row():
                file = gr.File(label="Your image (a test card if there is none)", file_types=["image"], height=120)
                severity = gr.Slider(0, 1, 0.7, step=0.01, label="Severity t", elem_id="severity")
                seed = gr.Slider(0, 999, 0, step=1, label="Seed")
            with gr.Tab("Degrade"):
                self.degrade_tab(file, severity, seed)
            with gr.Tab("Restore"):
                self.restore_tab(file, severity, seed)
            with gr.Tab("Compare"):
                self.compare_tab(file, severity, seed)
            with gr.Tab("Generate"):
                self.generate_tab(seed)
        self.page.queue(default_concurrency_limit=1, max_size=32)
        return self.page

    # --- degrade --------------------------------------------------------------------------------------------------

    def degrade_tab(self, file: Any, severity: Any, seed: Any) -> None:
        names = self.studio.names("degradation")
        first = "kornia.gaussian_blur" if "kornia.gaussian_blur" in names else names[0]
        given = gr.State({})
        with gr.Row():
            with gr.Column():
                stack = gr.Dropdown(names, value=[first], multiselect=True, label="Degradations, applied in order")
                self.parameters(stack, given)
            with gr.Column():
                image = picture("Degraded", "degraded")
                text = gr.Code(
                    language="yaml", label="The pipeline: save as my.yaml", elem_id="yaml", interactive=False
                )
                shell("Then", "then", "rethaw train my.yaml --out runs/mine\nrethaw serve runs/mine")

        @told
        def show(path: str | None, t: float, number: int, chosen: list[str], values: Given) -> tuple[Any, str]:
            if not chosen:
                raise RethawError("choose a degradation", "Such as kornia.gaussian_blur.")
            yaml_text = self.studio.text([(name, values.get(name, {})) for name in chosen])
            return to_pil(self.studio.degrade(yaml_text, upload(path), t, int(number))), yaml_text

        inputs = [file, severity, seed, stack, given]
        changes = [self.page.load, *(each.change for each in inputs)]
        gr.on(changes, show, inputs, [image, text], show_progress="hidden", trigger_mode="always_last")

    def parameters(self, stack: Any, given: Any) -> None:
        """Sliders, choices and switches for each chosen degradation, made from its parameters' types."""

        @gr.render(inputs=[stack])  # type: ignore[untyped-decorator]
        def draw(chosen: list[str]) -> None:
            for name in dict.fromkeys(chosen):
                spec = self.studio.registry.find("degradation", name)[1]
                with gr.Accordion(name, open=len(chosen) == 1):
                    gr.Markdown(spec.summary)
                    for each in controls(spec):
                        bind(widget(each), name, each, given)

    # --- restore --------------------------------------------------------------------------------------------------

    def choices(self) -> tuple[Any, Any]:
        """Which run, and how many steps."""
        run = gr.Dropdown(self.runs, value=self.runs[0], label="Run")
        return run, gr.Slider(1, 100, 10, step=1, label="Steps")

    def restore_tab(self, file: Any, severity: Any, seed: Any) -> None:
        if not self.runs:
            gr.Markdown(NO_RUN)
            return
        with gr.Row():
            with gr.Column():
                run, steps = self.choices()
                sampler = gr.Dropdown(self.studio.names("sampler"), value="core.cold", label="Sampler")
                degrade = gr.Checkbox(True, label="The image is clean: degrade it first")
                button = gr.Button("Restore", variant="primary", elem_id="restore")
                command = shell("The same by command", "command")
            with gr.Column():
                both = gr.ImageSlider(label="Degraded and restored", type="pil", interactive=False, elem_id="both")
                at = gr.Slider(0, 10, 0, step=1, label="Step of the walk", elem_id="scrub")
                with gr.Row():
                    x_t = picture("x_t", "xt")
                    x0_hat = picture("estimate of x0", "estimate")
                walk = gr.State([])

        @told
        def restore(
            path: str | None, t: float, number: int, name: str, n: int, how: str, clean: bool
        ) -> tuple[Any, ...]:
            x = upload(path, self.studio.of(name).config.restorer.channels)
            walked = self.studio.restore(name, x, t, how, int(n), clean, int(number))
            stations = [(to_pil(x), to_pil(estimate)) for _, x, estimate in walked.stations]
            line = (
                f"rethaw restore {name} photo.png --severity {t:g} --sampler {how} --steps {int(n)} --seed {number:g}"
            )
            slider = gr.Slider(0, len(stations) - 1, value=0, step=1)
            pair = (to_pil(walked.degraded), to_pil(walked.restored))
            return pair, slider, *stations[0], stations, line + (" --degrade" if clean else "")

        def scrub(i: int, stations: list[tuple[Image.Image, Image.Image]]) -> tuple[Any, Any]:
            return stations[min(int(i), len(stations) - 1)] if stations else (None, None)

        inputs = [file, severity, seed, run, steps, sampler, degrade]
        button.click(restore, inputs, [both, at, x_t, x0_hat, walk, command])
        at.change(scrub, [at, walk], [x_t, x0_hat], show_progress="hidden", trigger_mode="always_last")

    def compare_tab(self, file: Any, severity: Any, seed: Any) -> None:
        if not self.runs:
            gr.Markdown(NO_RUN)
            return
        run, steps = self.choices()
        samplers = gr.Dropdown(
            self.studio.names("sampler"),
            value=["core.direct", "core.naive", "core.cold"],
            multiselect=True,
            label="Samplers",
        )
        button = gr.Button("Compare", variant="primary", elem_id="compare")
        sheet = gr.Gallery(label="The same degraded image, restored", columns=4, elem_id="sheet")

        @told
        def compare(path: str | None, t: float, number: int, name: str, n: int, hows: list[str]) -> list[Any]:
            x = upload(path, self.studio.of(name).config.restorer.channels)
            found = {how: self.studio.restore(name, x, t, how, int(n), True, int(number)) for how in hows}
            first = next(iter(found.values()), None)
            degraded = [(to_pil(first.degraded), f"degraded, t = {t:g}")] if first else []
            return [*degraded, *((to_pil(w.restored), how) for how, w in found.items()), (to_pil(x), "clean")]

        button.click(compare, [file, severity, seed, run, steps, samplers], [sheet])

    def generate_tab(self, seed: Any) -> None:
        if not self.runs:
            gr.Markdown(NO_RUN)
            return
        run, steps = self.choices()
        count = gr.Slider(1, 32, 8, step=1, label="Images")
        button = gr.Button("Generate", variant="primary", elem_id="generate")
        sheet = gr.Gallery(label="Generated", columns=8, elem_id="generated")
        command = shell("The same by command", "generate-command")

        @told
        def generate(name: str, n: int, many: int, number: int) -> tuple[list[Any], str]:
            images = self.studio.generate(name, int(many), int(n), int(number))
            line = f"rethaw generate {name} -n {int(many)} --steps {int(n)} --seed {number:g}"
            return [to_pil(x) for x in images], line

        button.click(generate, [run, steps, count, seed], [sheet, command])


# --- controls ---------------------------------------------------------------------------------------------------------


def picture(label: str, name: str) -> Any:
    """A picture to look at and to save."""
    return gr.Image(label=label, type="pil", interactive=False, elem_id=name, buttons=["download", "fullscreen"])


def shell(label: str, name: str, text: str = "") -> Any:
    """Commands to copy."""
    return gr.Code(text, language="shell", label=label, elem_id=name, interactive=False, wrap_lines=True, lines=2)


def widget(of: Control) -> Any:
    """The control on the page."""
    if of.kind == "number":
        step = 1 if of.whole else (of.high - of.low) / 100
        return gr.Slider(of.low, of.high, of.value, step=step, label=of.name, info=of.about, interactive=True)
    if of.kind == "choice":
        return gr.Dropdown(list(of.choices), value=of.value, label=of.name, info=of.about, interactive=True)
    if of.kind == "switch":
        return gr.Checkbox(of.value, label=of.name, info=of.about, interactive=True)
    return gr.Textbox("" if of.value is None else str(of.value), label=of.name, info=of.about, interactive=True)


def bind(shown: Any, name: str, of: Control, given: Any) -> None:
    """What a visitor sets is kept by component and parameter."""

    def set_value(value: Any, values: Given) -> Given:
        if of.kind == "text":
            value = of.value if value == ("" if of.value is None else str(of.value)) else parsed(value)
        value = int(value) if of.whole and of.kind == "number" else value
        return {**values, name: {**values.get(name, {}), of.name: value}}

    shown.change(set_value, [shown, given], [given], show_progress="hidden", trigger_mode="always_last")
