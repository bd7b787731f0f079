"""The same samplers as other libraries have them, each with its own schedule and a network of one multiplication.

A library that is not installed is left out: pip install diffusers azula deepinv, and pip install --no-deps k-diffusion
torchsde trampoline (of k-diffusion only its samplers are loaded, which need no more).
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[[], Tensor]


def network(x: Tensor, *given: Any, **more: Any) -> Tensor:
    return x * 0.9


def diffusers(name: str, x: Tensor, steps: int, **step: Any) -> Call:
    """A scheduler's own loop."""
    import diffusers as library

    flow = name.startswith("Flow")
    given: dict[str, Any] = {} if flow else {"prediction_type": "sample"}
    given |= {"clip_sample": False} if name.startswith("DD") else {}
    scheduler = getattr(library, f"{name}Scheduler")(**given)

    def call() -> Tensor:
        scheduler.set_timesteps(steps)
        y = x
        for t in scheduler.timesteps:
            seen = y if flow else scheduler.scale_model_input(y, t)
            y = scheduler.step(network(seen, t), t, y, **step).prev_sample
        return y

    return call


def k_diffusion(name: str, x: Tensor, steps: int) -> Call:
    """A function of k_diffusion.sampling, loaded without its package, which asks for training tools."""
    if "k_diffusion" not in sys.modules:
        spec = importlib.util.find_spec("k_diffusion")
        assert spec and spec.submodule_search_locations
        package = types.ModuleType("k_diffusion")
        package.__spec__ = spec
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["k_diffusion"] = package
    import k_diffusion.sampling as library

    def call() -> Tensor:
        σ = library.get_sigmas_karras(steps, 0.002, 80.0)
        found: Tensor = getattr(library, f"sample_{name}")(network, x, σ, disable=True)
        return found

    return call


def azula(name: str, x: Tensor, steps: int, **given: Any) -> Call:
    """A sampler of azula on its variance-preserving schedule."""
    import azula.denoise
    import azula.noise
    import azula.sample

    class Denoiser(azula.denoise.Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = azula.noise.VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **more: Any) -> Any:
            return azula.denoise.DiracPosterior(network(x_t))

    return lambda: getattr(azula.sample, f"{name}Sampler")(Denoiser(), steps=steps, silent=True, **given)(x)


def deepinv(name: str, x: Tensor, steps: int, flow: bool = False, alpha: float = 0.0) -> Call:
    """A solver of deepinv on its variance-preserving or flow-matching process, in float32."""
    import deepinv.sampling as library

    class Denoiser(nn.Module):
        def forward(self, x: Tensor, sigma: Any, **more: Any) -> Tensor:
            return network(x)

    solver = getattr(library, f"{name}Solver")(timesteps=torch.linspace(0.98, 1e-3, steps + 1))
    process = library.FlowMatching if flow else library.VariancePreservingDiffusion
    sde = process(denoiser=Denoiser(), solver=solver, alpha=alpha, dtype=torch.float32)
    return lambda: sde.sample(x)  # type: ignore[no-any-return]


PEERS: dict[str, dict[str, Callable[[Tensor, int], Call]]] = {
    "core.ddpm": {
        "diffusers": lambda x, n: diffusers("DDPM", x, n),
        "azula": lambda x, n: azula("DDPM", x, n),
        "deepinv": lambda x, n: deepinv("DDPM", x, n, alpha=1.0),
    },
    "core.ddim": {
        "diffusers": lambda x, n: diffusers("DDIM", x, n, eta=0.0),
        "azula": lambda x, n: azula("DDIM", x, n),
        "deepinv": lambda x, n: deepinv("DDIM", x, n),
    },
    "core.edm euler": {
        "diffusers": lambda x, n: diffusers("EulerDiscrete", x, n),
        "k-diffusion": lambda x, n: k_diffusion("euler", x, n),
        "azula": lambda x, n: azula("Euler", x, n),
        "deepinv": lambda x, n: deepinv("Euler", x, n),
    },
    "core.edm heun": {
        "diffusers": lambda x, n: diffusers("HeunDiscrete", x, n),
        "k-diffusion": lambda x, n: k_diffusion("heun", x, n),
        "azula": lambda x, n: azula("Heun", x, n),
        "deepinv": lambda x, n: deepinv("Heun", x, n),
    },
    "core.dpm_solver": {
        "diffusers": lambda x, n: diffusers("DPMSolverMultistep", x, n),
        "k-diffusion": lambda x, n: k_diffusion("dpmpp_2m", x, n),
        "azula": lambda x, n: azula("zAB", x, n),
    },
    "core.flow euler": {
        "diffusers": lambda x, n: diffusers("FlowMatchEulerDiscrete", x, n),
        "deepinv": lambda x, n: deepinv("Euler", x, n, flow=True),
    },
    "core.flow heun": {
        "diffusers": lambda x, n: diffusers("FlowMatchHeunDiscrete", x, n),
        "deepinv": lambda x, n: deepinv("Heun", x, n, flow=True),
    },
}
"""Contestants by rethaw's sampler; of azula's multistep samplers the nearest of second order, zAB."""
