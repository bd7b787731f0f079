"""`rethaw demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethaw.cli.common import say, training_bar, write_json
from rethaw.cli.options import Overrides

if TYPE_CHECKING:
    from rethaw.engine.pipeline import Pipeline

SAMPLERS = ("direct", "naive", "cold")
SIDE = 256
FACE = (60, 10, 140, 90)  # left, top, right, bottom of the detail that is shown enlarged


def demo(
    overrides: Overrides = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="Where everything goes.")] = Path("rethaw-demo"),
) -> None:
    """Train a deblurring restorer on real photographs (about three minutes on two cores) and restore one held out.

    The photograph is blurred and written as an 8-bit PNG; that file is restored by direct, naive and cold sampling.
    Writes before_after.png, the images, results.json and the run. An interrupted demo goes on where it stopped.

    [bold]Examples[/]

        rethaw demo

        rethaw demo train.steps=2000 --out better
    """
    from rethaw.config import load_config
    from rethaw.config.dump import dump_config
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.run import CHECKPOINT, Run

    config, registry = load_config("demo", overrides or ())
    pipeline = Pipeline(config, registry)
    run = Run(to / "run")
    resume = run.has(CHECKPOINT) and not (to / "results.json").is_file()
    if not resume:
        run.clear()
        (to / "results.json").unlink(missing_ok=True)
    name = pipeline.parts.degradation.name
    say(f"training {name} on crops of scikit-image's photographs, {config.train.steps} steps …")
    with training_bar(config.train.steps) as watch:
        outcome = pipeline.train(run.folder, resume=resume, watch=watch)
    if not outcome.finished:
        say(f"stopped at step {outcome.step}; everything is saved. Go on with: rethaw demo --out {to}")
        raise typer.Exit(130)
    results = restore_held_out(pipeline, to)
    rows: dict[str, Any] = results["rows"]
    write_json(
        to / "results.json", {**results, "train_seconds": round(outcome.seconds, 1), "pipeline": dump_config(config)}
    )
    say("")
    say(table(rows))
    gain = rows["cold"]["psnr"] - rows["degraded"]["psnr"]
    say(f"\ntrained in {outcome.seconds:.0f} s; cold sampling gains {gain:+.2f} dB. Look at {to / 'before_after.png'}")


def restore_held_out(pipeline: Pipeline, to: Path) -> dict[str, Any]:
    """Blurs the held-out photograph into a file, restores that file by each sampler, measures and draws."""
    from PIL import Image

    from rethaw import pictures
    from rethaw.builtin.datasets.photos import HELD_OUT, photo
    from rethaw.images import from_pil, read_image, write_image

    source = Image.open(photo(HELD_OUT[0])).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    clean = from_pil(source, 3).pixels
    write_image(to / "clean.png", clean)
    degraded, _ = pipeline.degrade(clean[None])
    write_image(to / "degraded.png", degraded[0].cpu())
    found = {"degraded": read_image(to / "degraded.png").pixels}
    for name in SAMPLERS:
        say(f"restoring degraded.png by {name} sampling …")
        restored = pipeline.restore(to / "degraded.png", sampler=f"core.{name}")
        restored.save(to / f"restored-{name}.png")
        found[name] = restored.pixels
    rows = {name: measure(pipeline, image, clean) for name, image in found.items()}
    panels = [(title, f"{rows[title]['psnr']:.1f} dB", found[title]) for title in found]
    pictures.save(
        pictures.before_after([*panels, ("clean", "held out of training", clean)], FACE), to / "before_after.png"
    )
    return {"image": HELD_OUT[0], "rows": rows}


def measure(pipeline: Pipeline, image: Any, clean: Any) -> dict[str, float]:
    """The pipeline's metrics of one image."""
    meters = pipeline.parts.metrics()
    for meter in meters.values():
        meter.update(image[None], clean[None])
    return {key: float(meter.compute()) for key, meter in meters.items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """The results for a terminal."""
    names = list(rows["degraded"])
    lines = [f"{'':10}" + "".join(f"{name.upper():>9}" for name in names)]
    lines += [
        f"{row:10}" + "".join(f"{values[n]:9.{2 if n == 'psnr' else 4}f}" for n in names)
        for row, values in rows.items()
    ]
    return "\n".join(lines)
