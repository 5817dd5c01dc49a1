"""One run of `vlmir eval restore`: suite after suite, a line on the screen per row, the report kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.evaluate import baselines, scores
from model.evaluate.flops import Arithmetic, count_arithmetic
from model.evaluate.guidance_table import SEVERITY, measure_table
from model.evaluate.perceptual import Perceptual
from model.evaluate.pictures import PictureBook
from model.evaluate.report import Report
from model.evaluate.restoration import MODEL, Row
from model.evaluate.suites import SUITES, SuiteOptions, first_photo, run_suite
from model.pipeline import Restorer
from model.train.photos import find_photos

ABLATION = "ablation"
ALL_SUITES = (*SUITES, ABLATION)
HEAD = (
    f"{'case':24s} {'photos':>6s} {'steps':>5s} {'before':>7s} {'after':>7s} {'gain':>6s} {'s/photo':>8s} {'ssim':>6s}"
)


@dataclass
class Run:
    """What a run measures and where it writes.

    Attributes:
        restorer: The model.
        data: Folders of clean photos.
        real: Folders of really damaged photos; None takes `data`.
        options: Of every suite.
        report: Kept up to date after every suite; None writes none.
        strips: Folder for strips of whole photos.
        echo: Prints a line.
        ablation_severity: Of the damage in the suite "ablation", which has one table only.
    """

    restorer: Restorer
    data: Sequence[Path]
    real: Sequence[Path] | None
    options: SuiteOptions
    report: Report | None
    strips: Path | None
    echo: Callable[[str], None]
    ablation_severity: float = SEVERITY

    def measure(self, suites: Sequence[str]) -> dict[str, Any]:
        """Run these suites in turn.

        Returns:
            `rows`: every row as JSON, `suite` first; `ablation`: the table of that suite, if it was asked for.

        Raises:
            ModelError: A photo, a folder or an option does not fit.
        """
        for suite in suites:
            if self._adds and self.report is not None and suite != ABLATION:  # before hours of measuring, not after
                self.report.check_fits(suite, self._names(suite), asdict(self.options))
        perceptual = Perceptual()
        missing = {**scores.find_missing(), **perceptual.missing}
        if self.options.baselines:
            missing |= baselines.find_missing()
        rows: list[dict[str, Any]] = []
        tables: dict[str, Any] = {}
        for suite in suites:
            if suite == ABLATION:
                self.echo(ABLATION)
                tables[ABLATION] = self._ablate()
                continue
            self.echo(HEAD if len(suites) == 1 else f"{suite}\n{HEAD}")
            rows += self._measure_suite(suite, perceptual, missing)
        for name, reason in missing.items():
            self.echo(f"left out: {name}: {reason}")
        if not rows and not tables:
            raise ModelError(
                f"suite {','.join(suites)!r}: no case is left; --only {self.options.only!r} is in none of their names"
            )
        return {"rows": rows, **tables}

    @property
    def _adds(self) -> bool:
        """Whether the report's other cases stay."""
        return self.options.only is not None

    def _names(self, suite: str) -> list[str]:
        return [] if suite == "seams" else [path.name for path in self._folders(suite)]

    def _folders(self, suite: str) -> Sequence[Path]:
        return (self.real or self.data) if suite == "real" else self.data

    def _measure_suite(self, suite: str, perceptual: Perceptual, missing: dict[str, str]) -> list[dict[str, Any]]:
        data = self._folders(suite)
        book = (
            None if self.report is None else PictureBook(self.report.folder, suite, suite == "real", suite == "seams")
        )
        arithmetic = None
        if self.report is not None:
            arithmetic = count_arithmetic(self.restorer, first_photo(suite, self.restorer, data, self.options))
        notes = missing if perceptual.backbone in (None, "alex") else {**missing, "LPIPS with AlexNet": _OTHER_LPIPS}
        found: list[dict[str, Any]] = []
        for rows in run_suite(
            suite, self.restorer, data, self.options, perceptual=perceptual, book=book, strips=self.strips
        ):
            for row in rows:
                self.echo(format_row(row))
                found.append({"suite": suite, **row.to_json(), **_cost(row, arithmetic)})
            if self.report is not None and book is not None:  # after every case: a long run may be stopped
                section = {"data": self._names(suite), "options": asdict(self.options), "missing": notes, "rows": found}
                self.report.put(suite, {**section, "pictures": book.entries}, merge=self._adds)
        return found

    def _ablate(self) -> dict[str, Any]:
        """The table of `vlmir eval ablation`."""
        paths = find_photos(self.data)[: self.options.limit]
        steps = self.options.counts[0] if self.options.counts else 1
        table = measure_table(self.restorer, paths, self.echo, severity=self.ablation_severity, steps=steps)
        if self.report is not None:
            section = {"data": self._names(ABLATION), "options": asdict(self.options), "missing": {}}
            self.report.put(ABLATION, {**section, "rows": [], "pictures": [], "grid": table})
        return table


_OTHER_LPIPS = "the backbone found is another one, so LPIPS here cannot be compared with papers"


def format_row(row: Row) -> str:
    """A row as a line of the table on the screen; classical methods are indented."""
    name = row.case if row.method == MODEL else f"  {row.method}"
    steps = "-" if row.steps is None else f"{row.steps:.3g}"
    psnr = f"{'-':>7s} {'-':>7s} {'-':>6s}"
    if "psnr" in row.after:
        psnr = f"{row.psnr_before:7.2f} {row.psnr_after:7.2f} {row.psnr_after - row.psnr_before:+6.2f}"
    ssim = f"{row.after['ssim']:6.3f}" if "ssim" in row.after else f"{'-':>6s}"
    seam = f"  {row.after['seam']:+.1f} % across tile borders" if "seam" in row.after else ""
    ceiling = ""
    if "psnr_capped" in row.after:
        ceiling = f"  {row.after['psnr_capped']:.2f} dB with no photo above the ceiling, "
        ceiling += f"worst {row.after['psnr_worst']:.2f} ({row.worst})"
    return f"{name:24s} {row.photos:6d} {steps:>5s} {psnr} {row.seconds:8.2f} {ssim}{seam}{ceiling}"


def _cost(row: Row, arithmetic: Arithmetic | None) -> dict[str, float]:
    if arithmetic is None or row.steps is None:
        return {}
    return {"tflop_per_megapixel": arithmetic.tflop_per_megapixel(row.steps)}
