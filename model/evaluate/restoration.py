"""Restore photos of a case by the model and by classical methods, and measure what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from model.degradation.holes import find_holes
from model.evaluate.baselines import Baseline, Hint
from model.evaluate.cases import Case
from model.evaluate.perceptual import Perceptual, frechet_distance
from model.evaluate.samples import Sample, damage_photos, read_photo
from model.evaluate.scores import estimate_noise, hold_against_ceiling, psnr, score
from model.pipeline import Restorer

__all__ = ["MODEL", "ClassicalMethod", "Method", "ModelMethod", "Row", "measure", "measure_case", "psnr", "read_photo"]

MODEL = "model"
_WARM_UP_PX = 64


@dataclass(frozen=True)
class Row:
    """Mean figures of one case and one method.

    Attributes:
        case: Name.
        photos: How many.
        steps: Denoising steps, a mean where they differ between photos; None for classical methods.
        seconds: Per photo, restoration alone.
        before: Metric to its mean over the damaged photos (see `model.evaluate.scores.METRICS`).
        after: The same of the restored photos, as 8-bit images.
        method: "model" or the name of a classical method.
        kinds: What the damage is.
        level: Strength, in the unit of the suite.
        worst: Name of the photo with the lowest PSNR afterwards, where the case has a ceiling.
    """

    case: str
    photos: int
    steps: float | None
    seconds: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    method: str = MODEL
    kinds: tuple[str, ...] = ()
    level: float | None = None
    worst: str | None = None

    @property
    def psnr_before(self) -> float:
        """RGB PSNR of the damaged photos, dB (float, unclipped where the case is)."""
        return self.before["psnr"]

    @property
    def psnr_after(self) -> float:
        """RGB PSNR of the restored photos, dB."""
        return self.after["psnr"]

    def to_json(self) -> dict[str, Any]:
        """Flat, with `METRIC_before` and `METRIC_after`."""
        steps = int(self.steps) if self.steps is not None and self.steps == int(self.steps) else self.steps
        figures: dict[str, Any] = {
            "case": self.case,
            "method": self.method,
            "photos": self.photos,
            "steps": steps,
            "kinds": list(self.kinds),
            "level": self.level,
        }
        for when, values in (("before", self.before), ("after", self.after)):
            figures |= {f"{metric}_{when}": value for metric, value in values.items()}
        if "psnr" in self.before:
            figures["gain"] = self.psnr_after - self.psnr_before
        if self.worst is not None:
            figures["worst"] = self.worst
        return {**figures, "seconds": self.seconds}


class Method(Protocol):
    """Something that restores a photo."""

    @property
    def name(self) -> str:
        """As in reports."""

    def restore(self, sample: Sample, case: Case) -> tuple[torch.Tensor, float | None]:
        """The restored photo (1, 3, H, W) in [0, 1], and how many denoising steps it took."""


@dataclass(frozen=True)
class ModelMethod:
    """The model at a number of steps.

    Attributes:
        restorer: The model.
        steps: Denoising steps; None leaves them to the model's default quality.
        give_mask: Tell it where the holes are; False lets it find them.
    """

    restorer: Restorer
    steps: int | None = None
    give_mask: bool = True
    name: str = MODEL

    def restore(self, sample: Sample, case: Case) -> tuple[torch.Tensor, float | None]:
        """Restore with the sample's seed."""
        mask = sample.mask if self.give_mask else None
        result = self.restorer.restore(sample.damaged, steps=self.steps, seed=sample.seed, mask=mask)
        return result.image, result.steps


@dataclass(frozen=True)
class ClassicalMethod:
    """A classical baseline, told what it may know.

    Attributes:
        baseline: Which.
        give_mask: Tell it where the holes are; False finds them as the model does.
    """

    baseline: Baseline
    give_mask: bool = True

    @property
    def name(self) -> str:
        """Of the baseline."""
        return self.baseline.name

    def restore(self, sample: Sample, case: Case) -> tuple[torch.Tensor, float | None]:
        """Run it on the CPU."""
        sigma = estimate_noise(sample.damaged) if case.sigma is None else case.sigma
        mask = sample.mask if self.give_mask else None
        if mask is None:
            looks_holed = "inpainting" in case.kinds
            mask = find_holes(sample.damaged) if looks_holed else torch.zeros_like(sample.damaged[:, :1])
        hint = Hint(sigma, ((mask[0, 0] > 0.5).byte() * 255).numpy())
        photo = np.ascontiguousarray(sample.damaged[0].permute(1, 2, 0).numpy())
        restored = torch.from_numpy(np.ascontiguousarray(self.baseline.run(photo, hint)))
        return restored.permute(2, 0, 1)[None].float().clamp(0, 1), None


@dataclass
class _Tally:
    """What one method did to the photos of a case so far."""

    scores: list[dict[str, float]] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    steps: list[float | None] = field(default_factory=list)
    seconds: float = 0.0


# Called with (index of the photo, the sample, stored results by position of the method)
Watcher = Callable[[int, Sample, list[torch.Tensor]], None]


def measure_case(
    case: Case,
    samples: Iterable[Sample],
    methods: Sequence[Method],
    *,
    perceptual: Perceptual | None = None,
    extra: Callable[[torch.Tensor], dict[str, float]] | None = None,
    watch: Watcher | None = None,
) -> list[Row]:
    """Run every method on every photo of a case.

    Args:
        case: Its name, kinds and whether to measure inside the holes only; the samples are damaged already.
        samples: Photos, all with a reference or all without.
        methods: One row each, in this order.
        perceptual: Also measures LPIPS and FID, as far as they can be had.
        extra: More figures, from a photo before it is rounded to 8 bits.
        watch: Is shown each photo's results, to keep pictures of them.
    """
    damaged_tally, tallies = _Tally(), [_Tally() for _ in methods]
    clean_features: list[np.ndarray] = []
    names: list[str] = []
    wants_features = perceptual is not None and perceptual.has_fid

    def note(tally: _Tally, image: torch.Tensor, raw: torch.Tensor, sample: Sample) -> None:
        region = sample.mask if case.inside_mask else None
        figures = score(image, sample.clean, region)
        if perceptual is not None and sample.clean is not None:
            figures |= perceptual.score(image, sample.clean)
            if wants_features:
                tally.features.append(perceptual.features(image))
        tally.scores.append(figures | (extra(raw) if extra is not None else {}))

    photos = 0
    for sample in samples:
        if not photos:
            _warm_up(methods, sample, case)
        note(damaged_tally, sample.damaged, sample.damaged, sample)
        if perceptual is not None and wants_features and sample.clean is not None:
            clean_features.append(perceptual.features(sample.clean))
        stored = []
        for method, tally in zip(methods, tallies, strict=True):
            started = time.perf_counter()
            result, steps = method.restore(sample, case)
            tally.seconds += time.perf_counter() - started
            tally.steps.append(steps)
            stored.append((result * 255).round() / 255)
            note(tally, stored[-1], result, sample)
        if watch is not None:
            watch(photos, sample, stored)
        photos += 1
        names.append(sample.name)
    before = _mean(damaged_tally, clean_features, case.ceiling)
    return [
        Row(
            case=case.name,
            photos=photos,
            steps=_mean_steps(tally.steps),
            seconds=tally.seconds / max(1, photos),
            before=before,
            after=_mean(tally, clean_features, case.ceiling),
            method=method.name,
            kinds=case.kinds,
            level=case.level,
            worst=None if case.ceiling is None else _find_worst(tally, names),
        )
        for method, tally in zip(methods, tallies, strict=True)
    ]


def measure(
    restorer: Restorer,
    paths: Sequence[Path],
    cases: Iterable[Case],
    steps: int | None,
    *,
    give_mask: bool = True,
    pictures: Path | None = None,
) -> Iterator[Row]:
    """Restore every photo under every case by the model alone; one row per case.

    Args:
        restorer: The model.
        paths: Clean photos.
        cases: What to do to them.
        steps: Denoising steps; None leaves them to the model's default quality.
        give_mask: Tell the model where the holes are; False lets it find them.
        pictures: Folder for damaged | restored | clean strips of the first photos; None writes none.
    """
    method = ModelMethod(restorer, steps, give_mask)
    for case in cases:
        watch = None if pictures is None else strip_writer(pictures, case.name)
        yield from measure_case(case, damage_photos(case, paths), [method], watch=watch)


def strip_writer(folder: Path, name: str) -> Watcher:
    """Writes damaged | restored | clean strips of the first two photos, whole, as its first method restored them."""

    def watch(index: int, sample: Sample, results: list[torch.Tensor]) -> None:
        if index >= 2:
            return
        parts = [sample.damaged.clamp(0, 1), results[0], *([] if sample.clean is None else [sample.clean])]
        pixels = (torch.cat(parts, 3)[0].permute(1, 2, 0) * 255).round().byte().numpy()
        stem = name.replace(" ", "_").replace("/", "_")
        Image.fromarray(pixels).save(folder / f"{stem}_{index}.jpg", quality=92)

    return watch


def _warm_up(methods: Sequence[Method], sample: Sample, case: Case) -> None:
    """First calls import packages and allocate: let them do it on the middle of a photo, out of the seconds."""
    top, left = (max(0, side - _WARM_UP_PX) // 2 for side in sample.damaged.shape[2:])

    window = (..., slice(top, top + _WARM_UP_PX), slice(left, left + _WARM_UP_PX))
    mask = None if sample.mask is None else sample.mask[window]
    for method in methods:
        method.restore(Sample(sample.damaged[window], None, mask, sample.seed), case)


def _mean(tally: _Tally, clean_features: list[np.ndarray], ceiling: float | None) -> dict[str, float]:
    keys = tally.scores[0] if tally.scores else {}
    figures = {key: float(np.mean([scores[key] for scores in tally.scores])) for key in keys}
    if ceiling is not None and "psnr" in figures:
        figures |= hold_against_ceiling([scores["psnr"] for scores in tally.scores], ceiling)
    if len(clean_features) > 1:
        figures["fid"] = frechet_distance(tally.features, clean_features)
    return figures


def _find_worst(tally: _Tally, names: Sequence[str]) -> str | None:
    found = [(scores["psnr"], name) for scores, name in zip(tally.scores, names, strict=True) if "psnr" in scores]
    return min(found)[1] if found else None


def _mean_steps(steps: list[float | None]) -> float | None:
    known = [count for count in steps if count is not None]
    return float(np.mean(known)) if known else None
