"""Dehazing by the dark channel prior, with a guided filter for the edges: a classical baseline.

He, Sun, Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009; the refinement is their "Guided Image
Filtering", ECCV 2010, in place of soft matting. Symbols: I = photo, J = scene, A = airlight, t = transmission,
I = J t + A (1 - t). Parameters are the paper's.
"""

from __future__ import annotations

import numpy as np

from model.evaluate.optional import import_cv2

PATCH_PX = 15
KEPT_HAZE = 0.95  # omega: a trace of haze is left, because far things look wrong without any
LEAST_TRANSMISSION = 0.1
BRIGHTEST_SHARE = 0.001
_GUIDE_RADIUS_PX, _GUIDE_EPSILON = 40, 1e-3


def remove_haze(photo: np.ndarray) -> np.ndarray:
    """Estimate the scene behind the haze.

    Args:
        photo: (H, W, 3) float32 RGB in [0, 1].

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    cv2 = import_cv2()
    air = estimate_airlight(photo)
    coarse = 1 - KEPT_HAZE * dark_channel(photo / air)
    fine = _guided_filter(photo @ np.array([0.299, 0.587, 0.114], np.float32), coarse, cv2)
    transmission = np.clip(fine, LEAST_TRANSMISSION, 1)[..., None]
    return np.clip((photo - air) / transmission + air, 0, 1).astype(np.float32)


def dark_channel(photo: np.ndarray) -> np.ndarray:
    """Darkest value of any channel within `PATCH_PX` of each pixel, (H, W)."""
    cv2 = import_cv2()
    darkest: np.ndarray = cv2.erode(photo.min(2), np.ones((PATCH_PX, PATCH_PX), np.uint8))
    return darkest


def estimate_airlight(photo: np.ndarray) -> np.ndarray:
    """Colour (3,) of the brightest pixel among those with the brightest dark channel; never below 0.1."""
    dark = dark_channel(photo).ravel()
    count = max(1, int(dark.size * BRIGHTEST_SHARE))
    # a stable sort: ties must not make two runs differ
    candidates = photo.reshape(-1, 3)[np.argsort(-dark, kind="stable")[:count]]
    brightest: np.ndarray = candidates[candidates.sum(1).argmax()]
    return np.maximum(brightest, 0.1)


def _guided_filter(guide: np.ndarray, target: np.ndarray, cv2: object) -> np.ndarray:
    """`target` smoothed so that its edges are those of the gray `guide`."""

    def mean(values: np.ndarray) -> np.ndarray:
        side = 2 * _GUIDE_RADIUS_PX + 1
        blurred: np.ndarray = cv2.blur(values, (side, side))  # type: ignore[attr-defined]
        return blurred

    guide_mean, target_mean = mean(guide), mean(target)
    covariance = mean(guide * target) - guide_mean * target_mean
    variance = mean(guide * guide) - guide_mean * guide_mean
    slope = covariance / (variance + _GUIDE_EPSILON)
    offset = target_mean - slope * guide_mean
    return mean(slope) * guide + mean(offset)
