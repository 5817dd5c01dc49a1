"""What more denoising steps buy, by kind and severity: the table that a budget of steps is chosen by."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from model.budget import is_found
from model.degradation.kinds import KINDS
from model.evaluate.damaged import damage_photo
from model.pipeline import Restorer

CLEAN = "clean"
"""Name of the row of photos that nothing was done to."""


@dataclass(frozen=True)
class Row:
    """One kind at one severity, mean over the photos.

    Attributes:
        kind: One of `KINDS`, or `CLEAN`.
        severity: 0..1.
        found: Share of the photos in which the predictor found this kind, so that its budget counts (`CLEAN`: in which
            it found none); holes count as found, because their mask is given.
        chosen: Mean steps that `quality` would take with the present configuration.
        before: PSNR of the damaged photos in dB (inside the holes for "inpainting").
        psnr: PSNR after restoration in dB, by number of steps.
        seconds: Time of a whole restoration of one photo, stage one included, by number of steps.
    """

    kind: str
    severity: float
    found: float
    chosen: float
    before: float
    psnr: dict[int, float]
    seconds: dict[int, float]


def measure_budget(
    restorer: Restorer,
    paths: Sequence[Path],
    kinds: Sequence[str] = KINDS,
    severities: Sequence[float] = (0.25, 0.5, 0.75),
    counts: Sequence[int] = (1, 2, 4, 8),
    *,
    quality: str = "balanced",
    crop_px: int | None = None,
) -> Iterator[Row]:
    """Restore every photo with every kind and severity at every number of steps; clean photos come first.

    Args:
        restorer: The model.
        paths: Clean photos.
        kinds: Of damage.
        severities: 0..1, above 0.
        counts: Numbers of steps.
        quality: Whose present choice of steps is shown.
        crop_px: See `damage_photo`.
    """
    cases = [(CLEAN, 0.0), *((kind, severity) for kind in kinds for severity in severities)]
    for kind, severity in cases:
        found, chosen, before = [], [], []
        psnr: dict[int, list[float]] = {count: [] for count in counts}
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        for index, path in enumerate(paths):
            damaged = damage_photo(path, KINDS[0] if kind == CLEAN else kind, severity, index, crop_px=crop_px)
            started_s = time.perf_counter()
            analysis = restorer.analyze(damaged.image)
            looked_s = time.perf_counter() - started_s
            kinds_found = {item.kind for item in analysis.findings if is_found(item)}
            if damaged.mask is not None:
                kinds_found.add("inpainting")
            found.append(not kinds_found if kind == CLEAN else kind in kinds_found)
            chosen.append(restorer.choose_steps(quality, analysis, damaged.mask))
            before.append(damaged.score(damaged.image))
            for count in counts:
                started_s = time.perf_counter()
                result = restorer.restore(damaged.image, steps=count, seed=index, mask=damaged.mask, analysis=analysis)
                seconds[count].append(looked_s + time.perf_counter() - started_s)
                psnr[count].append(damaged.score(result.image))
        yield Row(
            kind,
            severity,
            fmean(found),
            fmean(chosen),
            fmean(before),
            {count: fmean(values) for count, values in psnr.items()},
            {count: fmean(values) for count, values in seconds.items()},
        )
