"""Classical baselines, each for the kinds of damage it is meant for: what a model must beat to be worth its cost.

They are told what a user would know: which kind of damage it is, where the holes are, and for synthetic noise its
standard deviation, as papers on denoising do. The model is told the holes only. Strengths were chosen once, by mean
PSNR over severities 0.25, 0.5 and 0.75 of six crops of BSDS500 training photos, and are the same for every photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.degradation.kinds import PHYSICAL_ORDER
from model.evaluate.dark_channel import remove_haze
from model.evaluate.optional import import_cv2, import_package, is_installed


@dataclass(frozen=True)
class Hint:
    """What a baseline is told beside the photo.

    Attributes:
        sigma: Standard deviation of the noise on the 0..255 scale, known or estimated.
        mask: (H, W) uint8, 255 = missing.
    """

    sigma: float
    mask: np.ndarray


@dataclass(frozen=True)
class Baseline:
    """A classical method.

    Attributes:
        name: As in reports.
        run: (H, W, 3) float32 RGB, possibly beyond [0, 1], and the hint, to a photo of the same size.
    """

    name: str
    run: Callable[[np.ndarray, Hint], np.ndarray]


def list_baselines(kinds: Sequence[str]) -> list[Baseline]:
    """The baselines for photos with these kinds of damage; none for clean photos.

    For a mixture: the first baseline of each kind alone, and one after the other, what happened last repaired first.
    """
    found = [[item for item in _OF_KIND[kind] if item is not BM3D or is_installed("bm3d")] for kind in kinds]
    if len(found) <= 1:
        return [item for items in found for item in items]
    order = sorted(range(len(kinds)), key=lambda index: -PHYSICAL_ORDER.index(kinds[index]))
    chain = [found[index][0] for index in order]
    alone = list({item.name: item for item in chain}.values())
    return [*alone, _in_turn(chain)] if len(alone) > 1 else alone


def find_missing() -> dict[str, str]:
    """Baselines that a run leaves out, with the reason."""
    if is_installed("bm3d"):
        return {}
    reason = (
        "bm3d is not installed: pip install bm3d; its licence allows non-commercial use only, so vlmir[eval] has it not"
    )
    return {"BM3D": reason}


def _in_turn(chain: list[Baseline]) -> Baseline:
    def run(photo: np.ndarray, hint: Hint) -> np.ndarray:
        for item in chain:
            photo = item.run(photo, hint)
        return photo

    return Baseline(", ".join(item.name for item in chain), run)


def _non_local_means(photo: np.ndarray, hint: Hint) -> np.ndarray:
    cv2 = import_cv2()
    strength = 0.7 * hint.sigma
    return _from_bytes(cv2.fastNlMeansDenoisingColored(_to_bytes(photo), None, strength, strength, 5, 15))


def _bm3d(photo: np.ndarray, hint: Hint) -> np.ndarray:
    bm3d = import_package("bm3d", "bm3d", "BM3D")
    denoised: np.ndarray = bm3d.bm3d_rgb(photo.astype(np.float64), max(hint.sigma, 0.5) / 255)
    return denoised.astype(np.float32)


def _bilateral(photo: np.ndarray, hint: Hint) -> np.ndarray:
    return _from_bytes(import_cv2().bilateralFilter(_to_bytes(photo), 7, 20, 2))


def _despeckle(photo: np.ndarray, hint: Hint) -> np.ndarray:
    """The median of 5 px, but only where a pixel is brighter than it in every channel: streaks and flakes are."""
    smooth = _from_bytes(import_cv2().medianBlur(_to_bytes(photo), 5))
    brighter = (photo - smooth).min(2, keepdims=True) > 0.03
    return np.where(brighter, smooth, photo)


def _unsharp(photo: np.ndarray, hint: Hint) -> np.ndarray:
    smooth = import_cv2().GaussianBlur(photo, (0, 0), 3)
    return np.clip(photo + 0.3 * (photo - smooth), 0, 1).astype(np.float32)


def _wiener(photo: np.ndarray, hint: Hint) -> np.ndarray:
    """Wiener filter for a Gaussian blur of sigma 1.5 px, since the true blur is not known."""
    margin, sigma, noise_to_signal = 32, 1.5, 0.3
    margin = min(margin, min(photo.shape[:2]) - 1)
    padded = np.pad(photo, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    y, x = np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])
    transfer = np.exp(-2 * np.pi**2 * sigma**2 * (y**2 + x**2))
    gain = transfer / (transfer**2 + noise_to_signal) * (1 + noise_to_signal)  # 1 for a flat photo
    sharp = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * gain[..., None], padded.shape[:2], axes=(0, 1))
    return np.clip(sharp[margin:-margin, margin:-margin], 0, 1).astype(np.float32)


def _lift_shadows(photo: np.ndarray, hint: Hint) -> np.ndarray:
    """Divide out a fifth power of the large-scale brightness, a mild single-scale retinex (Jobson et al. 1997)."""
    light = import_cv2().GaussianBlur(photo.mean(2), (0, 0), 0.1 * min(photo.shape[:2]))
    gain = (light.mean() / np.maximum(light, 0.02)) ** 0.2
    return np.clip(photo * gain[..., None], 0, 1).astype(np.float32)


def _equalize(photo: np.ndarray, hint: Hint) -> np.ndarray:
    """CLAHE on the lightness of Lab, so that colours stay."""
    cv2 = import_cv2()
    lab = cv2.cvtColor(_to_bytes(photo), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(lab[..., 0])
    return _from_bytes(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _brighten(photo: np.ndarray, hint: Hint) -> np.ndarray:
    """The gamma that brings the mean value to 0.45; never darkens."""
    mean = float(np.clip(photo, 0, 1).mean())
    gamma = np.log(0.45) / np.log(min(max(mean, 1e-3), 0.99))
    return np.clip(photo, 0, 1) ** np.float32(min(gamma, 1.0))


def _telea(photo: np.ndarray, hint: Hint) -> np.ndarray:
    cv2 = import_cv2()
    return _from_bytes(cv2.inpaint(_to_bytes(photo), hint.mask, 5, cv2.INPAINT_TELEA))


def _dark_channel(photo: np.ndarray, hint: Hint) -> np.ndarray:
    return remove_haze(np.clip(photo, 0, 1).astype(np.float32))


def _to_bytes(photo: np.ndarray) -> np.ndarray:
    return (np.clip(photo, 0, 1) * 255).round().astype(np.uint8)


def _from_bytes(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / 255


BM3D = Baseline("BM3D", _bm3d)
_NLM = Baseline("non-local means", _non_local_means)
_CLAHE = Baseline("CLAHE", _equalize)
_DESPECKLE = Baseline("despeckle", _despeckle)
_OF_KIND: dict[str, tuple[Baseline, ...]] = {
    "blur": (Baseline("unsharp mask", _unsharp), Baseline("Wiener", _wiener)),
    "haze": (Baseline("dark channel", _dark_channel), _CLAHE),
    "jpeg": (Baseline("bilateral", _bilateral),),
    "low-light": (Baseline("gamma", _brighten), _CLAHE),
    "noise": (_NLM, BM3D),
    "raindrop": (_DESPECKLE,),
    "rain": (_DESPECKLE,),
    "shadow": (Baseline("retinex", _lift_shadows),),
    "snow": (_DESPECKLE,),
    "inpainting": (Baseline("Telea inpainting", _telea),),
}
