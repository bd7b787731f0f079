"""A Gaussian mixture on thumbnails: where generation from a blur or a pixelation starts (2208.09392, section 5.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng
from rethaw.builtin.priors.params import GaussianMixture as Params
from rethaw.builtin.priors.simple import enlarged
from rethaw.ops import rand, randn

ROUNDS = 100  # of expectation-maximisation
RIDGE = 1e-5  # on the diagonal of covariances, of values in [-1, 1]


class GaussianMixture:
    """x_1 = enlarge(v) + noise, with v ~ Σ_k w_k N(μ_k, Σ_k) on thumbnails of `size` pixels, all channels together."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, batches: Iterator[Tensor]) -> Mapping[str, Tensor]:
        small = [F.adaptive_avg_pool2d(batch, self.params.size).flatten(1).double().cpu() for batch in batches]
        return fit_mixture(torch.cat(small), self.params.components)

    def sample(self, fitted: Mapping[str, Tensor], like: Tensor, generator: Rng) -> Tensor:
        weights, means, roots = (fitted[key].to(like.device, like.dtype) for key in ("weights", "means", "roots"))
        at = rand(like, generator, ())
        k = torch.bucketize(at, weights.cumsum(0), right=True).clamp_max(len(weights) - 1)
        z = randn(like, generator, (means.shape[1],))
        v = means[k] + (roots[k] @ z.unsqueeze(-1)).squeeze(-1)
        side = self.params.size
        return enlarged(v.view(-1, like.shape[1], side, side), like) + self.params.noise * randn(like, generator)


def fit_mixture(x: Tensor, components: int) -> dict[str, Tensor]:
    """Expectation-maximisation on x (N, D), from means spread along the first principal axis (so nothing is random).

    Returns weights (K,), means (K, D) and roots (K, D, D), the Cholesky factors of the covariances.
    """
    count, size = x.shape
    ridge = RIDGE * torch.eye(size, dtype=x.dtype)
    axis = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[0]
    part = ((x @ axis).argsort().argsort() * components // count).clamp_max(components - 1)
    resp = F.one_hot(part, components).to(x.dtype)
    for _ in range(ROUNDS if components > 1 else 1):
        total = resp.sum(0).clamp_min(1e-9)
        means = resp.T @ x / total[:, None]
        apart = x[None] - means[:, None]
        covariances = (resp.T[:, :, None] * apart).transpose(1, 2) @ apart / total[:, None, None] + ridge
        roots = torch.linalg.cholesky(covariances)
        scaled = torch.linalg.solve_triangular(roots, apart.transpose(1, 2), upper=False).square().sum(1)
        log_det = roots.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
        log_p = (total / count).log()[:, None] - scaled / 2 - log_det - size / 2 * math.log(2 * math.pi)
        resp = log_p.softmax(0).T
    return {"weights": total / count, "means": means, "roots": roots}
