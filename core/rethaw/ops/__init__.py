"""Tensor helpers for operators: severities, draws that depend only on the generator passed in, linear operators.

Everything here takes its device and dtype from its arguments, has no loop over pixels or severities, and never
waits for the device.
"""

from __future__ import annotations

from rethaw.images import SUFFIXES, Listing, ending, find_images, from_pil, list_folder, read_image, read_mask
from rethaw.ops.blending import AlphaBar, Blending, exploding_sigma
from rethaw.ops.classes import with_classes
from rethaw.ops.coefficients import (
    combine,
    needs_coefficients,
    noise_of,
    posterior,
    quotient,
    reciprocal,
    schedule,
    severity_at,
)
from rethaw.ops.colour import LUMA, hue_rotation
from rethaw.ops.correlation import border, correlate, fast, fast_sides, pad, unpad
from rethaw.ops.draws import generators, mix_seed, rand, randn, seeded
from rethaw.ops.features import detail, sinusoids
from rethaw.ops.groups import only
from rethaw.ops.jpeg import JPEG_CHROMINANCE, JPEG_LUMINANCE, jpeg_coded, jpeg_table
from rethaw.ops.layers import zeroed
from rethaw.ops.linear import (
    Constant,
    band_blur,
    channel_svd,
    dense_blur,
    diagonal_svd,
    factored_svd,
    mix_channels,
    separable,
    separable_blur,
    separable_svd,
)
from rethaw.ops.masks import KNOWN, mask_of, through_mask
from rethaw.ops.photons import poisson_quantile
from rethaw.ops.pseudoinverse import gains, least_squares, linear_part, pseudo_inverse
from rethaw.ops.sde import FlowSolver, Rates, adaptive_solver, rates
from rethaw.ops.severities import check_severity, expand, level, per_image, severity_pairs, severity_rows
from rethaw.ops.stepping import StepSampler, Walk, WalkSampler, known_or_inferred, last_step
from rethaw.ops.weights import WEIGHTS, read_weights

RENAMED = {"inverse": "reciprocal"}


def __getattr__(name: str) -> None:
    """Says what an old name is called now."""
    if name in RENAMED:
        raise ImportError(f"rethaw.ops.{name} is now called rethaw.ops.{RENAMED[name]}")
    raise AttributeError(f"module 'rethaw.ops' has no attribute {name!r}")
