"""PSNR, SSIM and RMSE of torchmetrics, on pixels in [0, 1]; each is the mean over images, RMSE the root of the mean."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.functional.regression import mean_squared_error

WINDOW = 11
MOST = 100.0
"""The PSNR in dB from which on images count as equal: an error of 1e-5, less than a step of 16 bits."""


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped, as an image file would hold them."""
    return (images.float().clamp(-1, 1) + 1) / 2


class _Mean:
    """Keeps a sum over images."""

    higher_is_better = True

    def __init__(self, params: object) -> None:
        self.total, self.images = 0.0, 0

    def update(self, restored: Tensor, clean: Tensor) -> None:
        self.total += float(self.each(to_unit(restored), to_unit(clean)).double().sum())
        self.images += restored.shape[0]

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The value of each image, (B,)."""
        raise NotImplementedError

    def compute(self) -> float:
        return self.total / self.images if self.images else float("nan")


class Psnr(_Mean):
    """10 log10(1 / MSE), at most 100 dB an image, so that one equal pair does not make the mean infinite."""

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        values = peak_signal_noise_ratio(restored, clean, data_range=1.0, dim=(1, 2, 3), reduction="none")
        return values.clamp_max(MOST)


class Ssim(_Mean):
    """Structural similarity, the mean over images; images below 11 pixels use a smaller window."""

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        side = min(WINDOW, *(n - 1 + n % 2 for n in clean.shape[-2:]))
        values = structural_similarity_index_measure(
            restored,
            clean,
            data_range=1.0,
            reduction="none",
            gaussian_kernel=side >= WINDOW,
            sigma=1.5,
            kernel_size=max(side, 1),
        )
        assert isinstance(values, Tensor)
        return values.reshape(-1).clamp_max(1)  # rounding takes flat images past it


class Rmse(_Mean):
    """Root of the mean squared error over all images."""

    higher_is_better = False

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        return mean_squared_error(restored.flatten(1).T, clean.flatten(1).T, num_outputs=restored.shape[0])

    def compute(self) -> float:
        return float(super().compute() ** 0.5)
