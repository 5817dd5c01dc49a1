"""How much memory photos may take in a worker, beside the models that are loaded."""

from __future__ import annotations

import torch

from app.machine import free_bytes

STATE_SHARE = 0.4
"""Part of the memory beside the loaded models that the states of photos in progress may fill; decoding and forwards
need the rest."""

PIXEL_SHARE = 0.2
"""Part of the memory beside the loaded models for photos between upload and state; on a CPU it comes on top of the
share of the states."""

PIXEL_BYTES = 32
"""Memory per pixel of a decoded photo at its peak: 12 as floats, up to 8 as integers with alpha, 4 for the mask, and
what the decoder itself needs meanwhile."""


def plan_state_bytes(device: torch.device, host_share: float, device_share: float) -> int:
    """Tell how much memory the states of photos in progress may hold together, judged by what is free at this moment.

    Args:
        device: Where the states live.
        host_share: Part of the host's memory that is this worker's.
        device_share: Part of a GPU's memory that is this worker's; the others on it plan with the rest.

    Returns:
        At least 1: even without any free memory a photo is worked on, alone.
    """
    if device.type == "cuda":
        # What others have taken by now is gone already, so a share of the rest never adds up to more than there is.
        device_bytes, _ = torch.cuda.mem_get_info(device)
        return max(1, int(device_bytes * device_share * STATE_SHARE))
    return max(1, int(free_bytes(host_share) * STATE_SHARE))


def plan_pixel_bytes(host_share: float) -> int:
    """Tell how much memory photos may hold together that are decoded but not begun, or restored but not encoded."""
    return max(1, int(free_bytes(host_share) * PIXEL_SHARE))
