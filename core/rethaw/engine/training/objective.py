"""What training minimises: at which severities, which distance, weighted how.

The loss compares the network's own output with the one that would be right (`Parameterization.target`), so that it is
of order one whatever is predicted, and finite at every severity. Uniform weighting is that and nothing else: L_simple
for eps, flow matching's loss for flow, EDM's for edm. The other weightings are defined, as in their papers, by the
weight
w(SNR) of ‖x̂0 - x0‖², SNR = α²/σ²; since x̂0 - x0 = scale·(out - target), the output's own error has weight
w(SNR)·scale², which makes them mean the same for every prediction type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Prediction, RethawError, Rng, State
from rethaw.config.model import Train
from rethaw.engine.restorer.parameterization import LEAST_ALPHA, READINGS, Parameterization, coefficients
from rethaw.ops import needs_coefficients, posterior, rand, severity_at

HUBER = 0.1  # on images in [-1, 1]
LEAST_SIGMA = 1e-2  # of weights: a finer noise than 8 bits carry counts as this
P2_K, P2_γ = 1.0, 1.0  # 2204.00227, section 4
CONTINUOUS = 1000  # steps of the variational bound where the degradation has no levels
TINY = 1e-20  # under logarithms of variances

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda out, target: (out - target).abs(),
    "l2": lambda out, target: (out - target).square(),
    "huber": lambda out, target: F.smooth_l1_loss(out, target, reduction="none", beta=HUBER) * 2 * HUBER,
}

WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "snr": lambda snr, γ: snr,
    "min_snr": lambda snr, γ: snr.clamp_max(γ),
    "p2": lambda snr, γ: snr / (P2_K + snr) ** P2_γ,
}
"""w(SNR) of the squared error of x̂0; p2's is its weight of eps, 1/(k + SNR)^γ, times SNR."""


class Objective:
    """The `train` section's loss, weighting and severities, for one prediction type and degradation."""

    def __init__(self, train: Train, parameterization: Parameterization) -> None:
        self.train, self.parameterization, self.degradation = train, parameterization, parameterization.degradation
        needy = [f"weighting: {train.weighting}"] if train.weighting in WEIGHTINGS else []
        needy += ["severities: log_normal"] if train.severities == "log_normal" else []
        lacking = needs_coefficients(self.degradation)
        if needy and lacking:
            raise RethawError(
                f"train.{needy[0]} does not go with {self.degradation.name}: {lacking}",
                "Use weighting: uniform and severities: uniform, stratified or heavy.",
            )
        if train.severities == "discrete" and not self.degradation.levels:
            raise RethawError(
                f"train.severities: discrete needs levels, which {self.degradation.name} does not have",
                "Give it levels: 1000, or use severities: uniform.",
            )

    def severities(self, x0: Tensor, positions: Sequence[int], generator: Rng) -> Tensor:
        """t (B,) of the training examples at `positions`, a function of the position and its generator alone."""
        t_min, kind = self.degradation.t_min, self.train.severities
        u = rand(x0, generator, ())
        if kind == "stratified":
            part = torch.tensor([p % self.train.batch_size for p in positions], device=u.device)
            u = (part + u) / self.train.batch_size
        if kind == "log_normal":
            mean, std = self.train.log_normal
            t = severity_at(self.degradation, torch.exp(mean + std * torch.special.ndtri(u.double()))).to(u.dtype)
            return t.clamp_min(t_min)
        if kind == "discrete":
            levels = self.degradation.levels or 1
            return (((u * levels).floor() + 1) / levels).clamp(t_min, 1)
        return t_min + (1 - t_min) * (u.sqrt() if kind == "heavy" else u)

    def __call__(
        self, out: Tensor, x0: Tensor, x_t: Tensor, t: Tensor, state: State, walked: Tensor | None = None
    ) -> Tensor:
        """The loss of a network's output (B, out_channels, H, W), a scalar; walked: which x_t a walk has made (B,)."""
        reading = self.parameterization
        own, target = out.chunk(2, 1)[0] if reading.learned else out, reading.target(x0, x_t, t, state)
        if walked is not None and reading.prediction in READINGS:
            walks = walked.view(-1, 1, 1, 1)
            factor, right = reading.target_of_any(x0, x_t, t)
            own, target = torch.where(walks, factor * own, own), torch.where(walks, right, target)
        each = LOSSES[self.train.loss](own, target)
        weight = self.weight(t, x0)
        loss = each.mean() if weight is None else (weight * each).mean()
        return loss + self.bound(reading.read(out, x_t, t), x0, t) if reading.learned else loss

    def weight(self, t: Tensor, like: Tensor) -> Tensor | None:
        """w(SNR)·scale² of each image, (B, 1, 1, 1), its root for l1; None where all are 1."""
        if self.train.weighting == "uniform":
            return None
        α, σ = coefficients(self.degradation, t, like)
        α, σ = α.clamp_min(LEAST_ALPHA), σ.clamp_min(LEAST_SIGMA)
        snr = (α / σ).square()
        weight = WEIGHTINGS[self.train.weighting](snr, self.train.min_snr)
        if self.parameterization.prediction in READINGS:
            weight = weight * torch.as_tensor(self.parameterization.reading(α, σ).scale).square()
        return weight.sqrt() if self.train.loss == "l1" else weight

    def bound(self, found: Prediction, x0: Tensor, t: Tensor) -> Tensor:
        """λ L_vlb of the learned variance, in bits per dimension, with no gradient into x̂0 (2102.09672, eq. 16).

        A variance outside its bounds counts as the nearer bound, as in sampling, with that one's gradient, which leads
        back.
        """
        assert found.log_var is not None
        place = found.log_var + (found.log_var.clamp(0, 1) - found.log_var).detach()
        steps = self.degradation.levels or CONTINUOUS
        s = (t - 1 / steps).clamp_min(0)
        start = (s == 0).view(-1, *(1,) * (x0.dim() - 1))
        now, before = (coefficients(self.degradation, at, x0) for at in (t, s))
        after = coefficients(self.degradation, (t + 1 / steps).clamp_max(1), x0)
        _, b, small, large = posterior(*now, *before)
        small = torch.where(start, posterior(*after, *now)[2], small).clamp_min(TINY)  # β̃ is 0 in the last step
        log_var = torch.lerp(small.log(), large.clamp_min(TINY).log(), place)
        x0_hat = found.x0.detach()
        apart = (b * (x0_hat - x0)).square()
        kl = (log_var - small.log() + (small + apart) * torch.exp(-log_var) - 1) / 2
        return self.train.vlb * steps * torch.where(start, nll(x0, x0_hat, log_var), kl).mean() / math.log(2)


def nll(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log of the mass that N(mean, exp(log_var)) has in the 8-bit bin of x0 (2006.11239, eq. 13)."""
    per_std = torch.exp(-log_var / 2)
    upper, lower = (torch.special.ndtr((x0 + half - mean) * per_std) for half in (1 / 255, -1 / 255))
    mass = torch.where(x0 > 0.999, 1.0, upper) - torch.where(x0 < -0.999, 0.0, lower)
    return -mass.clamp_min(1e-12).log()
