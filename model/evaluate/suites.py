"""What a run does: for every suite its cases, photos and methods, and the rows and pictures that come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from model.errors import ModelError
from model.evaluate.baselines import list_baselines
from model.evaluate.cases import SYNTHETIC_SUITES, Case, list_cases
from model.evaluate.perceptual import Perceptual
from model.evaluate.pictures import PictureBook
from model.evaluate.restoration import (
    ClassicalMethod,
    Method,
    ModelMethod,
    Row,
    Watcher,
    measure_case,
    strip_writer,
)
from model.evaluate.samples import Sample, damage_photos, find_real_sets, read_pairs
from model.evaluate.seams import NOISE_SIGMA, SKIES, find_grid, seam_excess, sky_samples
from model.pipeline import Restorer
from model.train.photos import find_photos

SUITES = (*SYNTHETIC_SUITES, "seams", "real")
DEFAULT_COUNTS: dict[str, tuple[int | None, ...]] = {"steps": (1, 2, 4, 8, 20), "seams": (1, 4, 8)}


@dataclass(frozen=True)
class SuiteOptions:
    """How suites are run.

    Attributes:
        counts: Numbers of denoising steps; None takes the suite's own, mostly the model's default quality.
        severities: Of `ten` and `mixtures`.
        only: Keep the cases whose name holds this text.
        limit: Most photos per case.
        give_mask: Tell the model and the baselines where the holes are.
        baselines: Run the classical methods too.
    """

    counts: tuple[int, ...] | None = None
    severities: tuple[float, ...] = (0.5,)
    only: str | None = None
    limit: int | None = None
    give_mask: bool = True
    baselines: bool = False


@dataclass(frozen=True)
class _Job:
    case: Case
    samples: Callable[[], Iterable[Sample]]
    extra: Callable[[torch.Tensor], dict[str, float]] | None = None


def check_suites(text: str, known: Sequence[str] = SUITES) -> list[str]:
    """The suites named in comma-separated text.

    Args:
        text: Names.
        known: Those that there are.

    Raises:
        ModelError: An unknown one.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise ModelError(f"suite {name!r}: expected one of {', '.join(known)}")
    return names


def run_suite(
    suite: str,
    restorer: Restorer,
    data: Sequence[Path],
    options: SuiteOptions,
    *,
    perceptual: Perceptual | None = None,
    book: PictureBook | None = None,
    strips: Path | None = None,
) -> Iterator[list[Row]]:
    """Measure one suite; yields the rows of a case as soon as they are known, the model's first.

    Args:
        suite: One of `SUITES`.
        restorer: The model.
        data: Folders of clean photos; for `real`, of really damaged ones; `seams` needs none.
        options: How.
        perceptual: LPIPS and FID, as far as they can be had.
        book: Takes the report's pictures.
        strips: Folder for damaged | restored | clean strips of whole photos.

    Raises:
        ModelError: Unknown suite, or no photos.
    """
    counts = options.counts or DEFAULT_COUNTS.get(suite, (None,))
    for job in _list_jobs(suite, restorer, data, options):
        if options.only is not None and options.only not in job.case.name:
            continue
        methods: list[Method] = [ModelMethod(restorer, count, options.give_mask) for count in counts]
        if options.baselines and suite not in ("steps", "seams"):
            methods += [ClassicalMethod(item, options.give_mask) for item in list_baselines(job.case.kinds)]
        watch = _watch(suite, job.case.name, methods, book, strips)
        yield measure_case(job.case, job.samples(), methods, perceptual=perceptual, extra=job.extra, watch=watch)


def first_photo(suite: str, restorer: Restorer, data: Sequence[Path], options: SuiteOptions) -> torch.Tensor:
    """The first damaged photo of a suite, to count the arithmetic on."""
    job = next(iter(_list_jobs(suite, restorer, data, options)))
    return next(iter(job.samples())).damaged


def _list_jobs(suite: str, restorer: Restorer, data: Sequence[Path], options: SuiteOptions) -> Iterator[_Job]:
    if suite == "seams":
        grid = find_grid(restorer)
        name, count = f"sky, noise sigma {NOISE_SIGMA:g}", min(SKIES, options.limit or SKIES)
        case = Case(name, lambda photo, index: (photo, None), kinds=("noise",), level=NOISE_SIGMA, sigma=NOISE_SIGMA)
        yield _Job(case, partial(sky_samples, restorer, count), lambda image: {"seam": seam_excess(image, grid)})
    elif suite == "real":
        for found in find_real_sets(data, options.limit):
            case = Case(found.name, lambda photo, index: (photo, None), kinds=found.kinds)
            yield _Job(case, partial(read_pairs, found))
    else:
        paths = find_photos(data)[: options.limit]
        for case in list_cases(suite, options.severities):
            yield _Job(case, partial(damage_photos, case, paths))


def _watch(
    suite: str, case: str, methods: Sequence[Method], book: PictureBook | None, strips: Path | None
) -> Watcher | None:
    if book is None and strips is None:
        return None
    strip = None if strips is None else strip_writer(strips, f"{suite} {case}")

    def watch(index: int, sample: Sample, results: list[torch.Tensor]) -> None:
        if book is not None:
            book.add(case, index, sample, methods, results)
        if strip is not None:
            strip(index, sample, results)

    return watch
