"""Gaussian noise as a pure function of (seed, step, channel, row, column).

A counter-based generator ("Parallel random numbers: as easy as 1, 2, 3", SC 2011) with a 32-bit integer mixer and the
Box-Muller transform: neither tiling, nor batch mates, nor the device change a pixel's noise.
"""

from __future__ import annotations

import math

import torch

_MASK = 0xFFFFFFFF


def pixel_noise(seed: int, step: int, rows: range, width: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Standard normal noise (3, len(rows), width) float32 for the absolute rows given.

    Args:
        seed: Of the job, 0 <= seed < 2^63.
        step: Index of the denoising step (0 = start state).
        rows: Absolute row numbers.
        width: Columns 0..width-1 are produced.
        device: Where the noise is wanted, and computed unless the device has no float64 (Apple's GPUs): then the CPU
            computes it, so that it is the same noise.
    """
    if torch.device(device).type == "mps":
        return pixel_noise(seed, step, rows, width).to(device)
    key = _mix_int(_mix_int(seed & _MASK) ^ (seed >> 32) ^ _mix_int(step + 0x51ED27))
    row = torch.arange(rows.start, rows.stop, device=device).view(1, -1, 1)
    column = torch.arange(width, device=device).view(1, 1, -1)
    channel = _mix((torch.arange(3, device=device) + key) & _MASK).view(3, 1, 1)  # no copy that the host waits for
    counter = _mix((_mix(row ^ channel) + column * 2) & _MASK)
    uniform = (counter.double() + 1) / 2**32  # (0, 1]: the logarithm stays finite
    angle = _mix(counter ^ 0x2545F491).double() * (2 * math.pi / 2**32)
    return ((-2 * uniform.log()).sqrt() * angle.cos()).float()


def _mix(value: torch.Tensor) -> torch.Tensor:
    # xor-shift-multiply finaliser on 32-bit values held in int64 (products stay below 2^63)
    value = ((value ^ (value >> 16)) * 0x21F0AAAD) & _MASK
    value = ((value ^ (value >> 15)) * 0x735A2D97) & _MASK
    return value ^ (value >> 15)


def _mix_int(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 16)) * 0x21F0AAAD) & _MASK
    value = ((value ^ (value >> 15)) * 0x735A2D97) & _MASK
    return value ^ (value >> 15)
