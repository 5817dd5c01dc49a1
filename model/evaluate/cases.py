"""What is measured: suites of damage applied to clean photos, always with the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from model.degradation.jpeg import jpeg_compress
from model.degradation.kinds import KINDS, kind_index
from model.degradation.noise import SIGMA_AT_FULL_SEVERITY, add_gaussian_noise
from model.degradation.synthesis import degrade, degrade_mixture
from model.errors import ModelError

SIGMAS, QUALITIES = (15, 25, 50), (10, 20, 30, 40)
CLEAN_CEILING = 45.0
"""PSNR of a clean photo that counts as unharmed, dB: an error of 1.4/255, which nobody sees."""
# Two things that happen to the same photo in life: dark and noisy, noisy and compressed, an old print with tears, ...
MIXTURES = (
    ("low-light", "noise"),
    ("noise", "jpeg"),
    ("blur", "noise"),
    ("blur", "jpeg"),
    ("haze", "jpeg"),
    ("haze", "rain"),
    ("shadow", "noise"),
    ("noise", "inpainting"),
)
# Where more steps may buy something and where they must not cost much.
_STEPS_KINDS = ("blur", "low-light", "rain", "inpainting")

Damage = Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor | None]]


@dataclass(frozen=True)
class Case:
    """One kind of damage, or a mixture, at one strength.

    Attributes:
        name: Of the row in the report.
        apply: Clean photo (1, 3, H, W) and photo index to (damaged photo, hole mask or None).
        inside_mask: Measure inside the holes only.
        kinds: What the damage is, for the classical baselines; empty for a clean photo.
        level: Strength in the unit of the suite: severity, sigma or JPEG quality.
        sigma: Standard deviation of the noise on the 0..255 scale, where it is known.
        ceiling: PSNR above which more is worth nothing, dB: also measures the mean with no photo above it, and the
            worst photo.
    """

    name: str
    apply: Damage
    inside_mask: bool = False
    kinds: tuple[str, ...] = ()
    level: float | None = None
    sigma: float | None = None
    ceiling: float | None = None


def list_cases(suite: str, severity: float | Sequence[float] = 0.5) -> Iterator[Case]:
    """The cases of a suite of synthetic damage.

    ten: every kind at each severity, as an 8-bit file would hold it.
    denoise: colour Gaussian noise sigma 15, 25, 50, float and unclipped, as the literature does.
    jpeg: libjpeg quality 10, 20, 30, 40.
    clean: untouched photos, which must come back unharmed, held against `CLEAN_CEILING`.
    mixtures: pairs of kinds, both at each severity, as an 8-bit file would hold them.
    steps: a few cases from the suites above, to be run at several numbers of steps.

    Args:
        suite: One of these.
        severity: Of `ten` and `mixtures`, 0..1, one or several.

    Raises:
        ModelError: Unknown suite.
    """
    severities = [severity] if isinstance(severity, int | float) else severity
    if suite not in _SUITES:
        raise ModelError(f"suite {suite!r}: expected one of {', '.join(_SUITES)}")
    return _SUITES[suite](severities)


def _denoise(severities: Sequence[float]) -> Iterator[Case]:
    for sigma in SIGMAS:
        yield Case(f"noise sigma {sigma}", _noise(sigma), kinds=("noise",), level=sigma, sigma=sigma)


def _jpeg(severities: Sequence[float]) -> Iterator[Case]:
    for quality in QUALITIES:
        yield Case(f"jpeg quality {quality}", _compress(quality), kinds=("jpeg",), level=quality)


def _ten(severities: Sequence[float]) -> Iterator[Case]:
    for kind in KINDS:
        for severity in severities:
            yield _kind(kind, severity)


def _clean(severities: Sequence[float]) -> Iterator[Case]:
    yield Case("clean", lambda photo, index: (photo, None), ceiling=CLEAN_CEILING)


def _mixtures(severities: Sequence[float]) -> Iterator[Case]:
    for pair in MIXTURES:
        for severity in severities:
            sigma = SIGMA_AT_FULL_SEVERITY * severity if "noise" in pair else None
            name = f"{' + '.join(pair)} {severity:g}"
            yield Case(name, _mix(pair, severity), kinds=pair, level=severity, sigma=sigma)


def _steps(severities: Sequence[float]) -> Iterator[Case]:
    yield next(case for case in _denoise(severities) if case.sigma == 25)
    yield next(case for case in _jpeg(severities) if case.level == 20)
    yield from (_kind(kind, 0.5) for kind in _STEPS_KINDS)


_SUITES: dict[str, Callable[[Sequence[float]], Iterator[Case]]] = {
    "ten": _ten,
    "denoise": _denoise,
    "jpeg": _jpeg,
    "clean": _clean,
    "mixtures": _mixtures,
    "steps": _steps,
}
SYNTHETIC_SUITES = tuple(_SUITES)


def _noise(sigma: float) -> Damage:
    return lambda photo, index: (add_gaussian_noise(photo, sigma, torch.Generator().manual_seed(index)), None)


def _compress(quality: int) -> Damage:
    return lambda photo, index: (jpeg_compress(photo, quality), None)


def _kind(kind: str, severity: float) -> Case:
    has_holes = kind == "inpainting" and severity > 0  # an empty mask has no inside to measure

    def apply(photo: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        result = degrade(photo, kind, severity, generator=torch.Generator().manual_seed(1000 + index))
        return _as_file(result.image), result.mask if has_holes else None

    sigma = SIGMA_AT_FULL_SEVERITY * severity if kind == "noise" else None
    return Case(f"{kind} {severity:g}", apply, has_holes, (kind,), severity, sigma)


def _mix(kinds: tuple[str, ...], severity: float) -> Damage:
    def apply(photo: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        severities = torch.zeros(1, len(KINDS))
        severities[0, [kind_index(kind) for kind in kinds]] = severity
        generator = torch.Generator().manual_seed(2000 + index)
        result = degrade_mixture(photo, severities, generator=generator, order="physical")
        return _as_file(result.image), result.mask if "inpainting" in kinds and severity > 0 else None

    return apply


def _as_file(image: torch.Tensor) -> torch.Tensor:
    return (image.clamp(0, 1) * 255).round() / 255
