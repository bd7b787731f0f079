"""The built-in plugin `core`."""

from __future__ import annotations

from rethaw.api import Spec, backbone, conditioner, dataset, degradation, hookimpl, metric, prior, sampler
from rethaw.builtin import params as P

AT = "rethaw.builtin"


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """Degradations."""
    return [
        degradation("gaussian_noise", P.GaussianNoise, target=f"{AT}.degradations.noise:GaussianNoise", linear=True,
                    gaussian=True, summary="Gaussian noise: variance-preserving (DDPM), exploding, or rectified flow."),
        degradation("identity", P.Identity, target=f"{AT}.degradations.simple:Identity", linear=True,
                    summary="Changes nothing."),
        degradation("fade", P.Fade, target=f"{AT}.degradations.simple:Fade", linear=True, summary="Fades to one colour."),
        degradation("mask", P.Mask, target=f"{AT}.degradations.mask:Mask", linear=True, range=(0.0, 1.0),
                    summary="Hides a bump, a box, a half or free-form strokes of each image."),
        degradation("desaturate", P.Desaturate, target=f"{AT}.degradations.desaturate:Desaturate", linear=True,
                    channels=3, summary="Fades colours towards grey."),
        degradation("mixture", P.Mixture, target=f"{AT}.degradations.mixture:Mixture",
                    summary="One of several degradations, drawn for each image."),
    ]  # fmt: skip


@hookimpl
def rethaw_backbones() -> list[Spec]:
    """Backbones."""
    return [backbone("unet", P.UNet, target=f"{AT}.backbones.unet:UNet", accepts=("vector", "image"),
                     summary="A compact U-Net with scale-shift severity embedding.")]  # fmt: skip


@hookimpl
def rethaw_conditioners() -> list[Spec]:
    """Conditioners."""
    return [conditioner("label", P.Label, target=f"{AT}.conditioners.label:Label", summary="The class of an image.")]


@hookimpl
def rethaw_samplers() -> list[Spec]:
    """Samplers."""
    at = f"{AT}.samplers.restoration"
    return [
        sampler("direct", P.Direct, target=f"{at}:Direct", summary="One call of the restorer."),
        sampler("naive", P.Naive, target=f"{at}:Naive", summary="Restore and degrade less in turn (Algorithm 1)."),
        sampler("cold", P.Cold, target=f"{at}:Cold", summary="Cold sampling (Algorithm 2); DDIM with inferred noise."),
    ]


@hookimpl
def rethaw_datasets() -> list[Spec]:
    """Datasets."""
    return [
        dataset("folder", P.Folder, target=f"{AT}.datasets.folder:Folder", summary="The images below a folder."),
        dataset(
            "photos", P.Photos, target=f"{AT}.datasets.photos:Photos", summary="Crops of scikit-image's photographs."
        ),
    ]


@hookimpl
def rethaw_metrics() -> list[Spec]:
    """Metrics."""
    at = f"{AT}.metrics.fidelity"
    return [
        metric("psnr", P.Psnr, target=f"{at}:Psnr", summary="Peak signal-to-noise ratio, dB."),
        metric("ssim", P.Ssim, target=f"{at}:Ssim", summary="Structural similarity."),
        metric("rmse", P.Rmse, target=f"{at}:Rmse", summary="Root mean squared error."),
    ]


@hookimpl
def rethaw_priors() -> list[Spec]:
    """Generation priors."""
    return [prior("mixture", P.GaussianMixture, target=f"{AT}.priors.mixture:GaussianMixture",
                  summary="A Gaussian mixture on small thumbnails of x_1.")]  # fmt: skip
