"""Smooth random fields, coordinates and the convolution that the weather and lens effects are built from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.draws import Draws, per_sample


def scale_unit(height: int, width: int) -> float:
    """Return how much longer a streak or wider a drop is in an image of this size than at 256 px.

    Grows with the square root of the shorter side: a large photo shows larger drops, but also more of them.
    """
    return max(min(height, width) / 256.0, 1.0) ** 0.5


def coordinates(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return y (H,1) and x (1,W) with the centre at 0, the shorter side spanning -1..1 and square pixels."""
    half = min(height, width) / 2.0
    y = (torch.arange(height, device=device) + 0.5 - height / 2.0) / half
    x = (torch.arange(width, device=device) + 0.5 - width / 2.0) / half
    return y[:, None], x[None, :]


def smooth_field(draws: Draws, height: int, width: int, *, cells: int, octaves: int = 1) -> Tensor:
    """Return (B,1,H,W) random clouds in 0..1 whose size follows the image.

    Args:
        draws: Source of randomness.
        height: Pixels.
        width: Pixels.
        cells: Blobs along the shorter side in the coarsest octave.
        octaves: Each further octave has blobs of half the size and half the height.
    """
    across = [max(2, round(cells * side / min(height, width))) for side in (height, width)]
    finest = [side * 2 ** (octaves - 1) + 2 for side in across]
    total = torch.zeros(draws.batch, 1, *finest, device=draws.device)
    for octave in range(octaves):
        grid = draws.normal(1, across[0] * 2**octave + 2, across[1] * 2**octave + 2)
        total += F.interpolate(grid, finest, mode="bicubic", align_corners=True) * 0.5**octave
    field = F.interpolate(total, (height, width), mode="bicubic", align_corners=True)
    low, high = field.amin((1, 2, 3), keepdim=True), field.amax((1, 2, 3), keepdim=True)
    return (field - low) / (high - low).clamp_min(1e-6)


def smoothstep(values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Return 0 below `low`, 1 above `high` and an S-shaped rise between."""
    ramp = ((values - low) / (high - low)).clamp(0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def blend(image: Tensor, other: Tensor | float, weight: Tensor) -> Tensor:
    """Return image where weight is 0 and other where it is 1."""
    return image + (other - image) * weight


def path_kernels(y: Tensor, x: Tensor, weight: Tensor, *, size: int, spread: Tensor | None = None) -> Tensor:
    """Draw one path per sample as a blur kernel.

    Args:
        y: (B,N) offsets of the path's points from the centre in pixels.
        x: (B,N) the same along x.
        weight: (B,N) brightness of each point.
        size: Odd kernel side in pixels.
        spread: (B,) standard deviation of the brush in pixels; None = a point, shared out to its four pixels.

    Returns:
        (B,size,size) kernels, not normalised.
    """
    taps = torch.arange(size, device=y.device) - size // 2
    down, across = taps - y[..., None], taps - x[..., None]
    if spread is None:
        down, across = (1.0 - down.abs()).clamp_min(0.0), (1.0 - across.abs()).clamp_min(0.0)
    else:
        scale = -0.5 / per_sample(spread, down) ** 2
        down, across = (down**2 * scale).exp(), (across**2 * scale).exp()
    return torch.einsum("bn,bni,bnj->bij", weight, down, across)


def reflect_pad(image: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Mirror the image over its edges, as often as it takes (any padding, even on a 1 px image)."""
    for dim, before, after in ((-2, top, bottom), (-1, left, right)):
        side = image.shape[dim]
        period = max(2 * side - 2, 1)
        index = torch.arange(-before, side + after, device=image.device) % period
        image = image.index_select(dim, torch.where(index < side, index, period - index))
    return image


def convolve_valid(image: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every channel with its sample's kernel, by FFT: the cost does not grow with the kernel.

    Args:
        image: (B,C,H,W).
        kernels: (B,K,K), K odd.

    Returns:
        (B,C,H-K+1,W-K+1): only what the kernel covers fully.
    """
    size = _fast_size(image)
    return _cut(torch.fft.rfft2(image, s=size) * torch.fft.rfft2(kernels, s=size)[:, None], image, kernels)


def convolve_layers(layers: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every channel with a kernel of its own and add the channels up.

    Args:
        layers: (B,C,H,W).
        kernels: (B,C,K,K), K odd.

    Returns:
        (B,1,H-K+1,W-K+1).
    """
    size = _fast_size(layers)
    spectrum = torch.fft.rfft2(layers, s=size) * torch.fft.rfft2(kernels, s=size)
    return _cut(spectrum.sum(1, keepdim=True), layers, kernels)


def _cut(spectrum: Tensor, image: Tensor, kernels: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    start = kernels.shape[-1] - 1
    return torch.fft.irfft2(spectrum, s=_fast_size(image))[..., start:height, start:width]


def _fast_size(image: Tensor) -> tuple[int, int]:
    """Return the next height and width with no prime factor above 5: others take several times as long."""
    height, width = (_next_smooth(side) for side in image.shape[-2:])
    return height, width


def _next_smooth(number: int) -> int:
    while True:
        rest = number
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return number
        number += 1
