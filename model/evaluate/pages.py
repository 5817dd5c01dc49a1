"""`report.html` from the content of `report.json`: what goes into its tables and charts. The template is beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from model.evaluate.cases import CLEAN_CEILING
from model.evaluate.charts import Chart, Series, draw_bars, draw_lines
from model.evaluate.optional import import_package
from model.evaluate.scores import METRICS

TITLES = {
    "ten": ("Ten kinds of damage", "Every kind at fixed severities, stored as 8-bit files. Holes are measured inside."),
    "denoise": ("Noise", "Colour Gaussian noise as papers measure it: float, unclipped."),
    "jpeg": ("JPEG", "Files of libjpeg at four qualities, 4:2:0 chroma."),
    "clean": ("Clean photos", "Untouched photos, which must come back unharmed."),
    "mixtures": ("Mixtures", "Two kinds of damage at once, in the order in which they happen to a photo."),
    "steps": ("Number of steps", "The same photos at several numbers of denoising steps: from fidelity to texture."),
    "seams": ("Seams", "Noisy flat skies larger than a tile. The excess is how much larger the mean gradient is across "
              "tile borders than elsewhere; before restoration there are no borders, so that column shows its chance."),
    "ablation": ("Guidance", "Photos restored with parts of the guidance taken away, falsified or told; PSNR in dB."),
    "real": ("Real photos", "Photos that were damaged in life; PSNR where a clean version is known."),
}  # fmt: skip
SEAMS, SEAM = "seams", "seam"
_COLOURS = 7  # classes c0, c1, ... of the style sheet


def render_page(content: dict[str, Any]) -> str:
    """The page of a report; every text in it is escaped.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    jinja2 = import_package("jinja2", "vlmir[eval]", "reports")
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    # every name ends in .j2, so escaping is not left to guessing by the suffix
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("report.html.j2")
    suites = content["suites"]
    order = [name for name in TITLES if name in suites] + [name for name in suites if name not in TITLES]
    sections = [_section(name, suites[name], content["machine"]) for name in order]
    page: str = template.render(
        model=content["model"],
        machine=content["machine"],
        sections=sections,
        summary=_summary([row for section in sections for row in section["rows"]]),
        metrics=[metric for metric in METRICS if any(metric.key in section["measured"] for section in sections)],
        missing={name: reason for suite in suites.values() for name, reason in suite["missing"].items()},
    )
    return page


def _section(name: str, suite: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    title, about = TITLES.get(name, (name, ""))
    rows = [dict(row) for row in suite["rows"]]
    _compare(rows)
    keys = [metric.key for metric in METRICS if any(f"{metric.key}_after" in row for row in rows)]
    return {
        "name": name,
        "title": title,
        "about": about,
        "data": suite["data"],
        "machine": suite["machine"] if suite.get("machine", usual) != usual else None,
        "rows": rows,
        "measured": keys,
        "others": [metric for metric in METRICS if metric.key in keys and metric.key != "psnr"],
        "has_seams": any(f"{SEAM}_after" in row for row in rows),
        "charts": [chart for chart in _charts(name, rows) if chart is not None],
        "pictures": suite["pictures"],
        "grid": suite.get("grid"),
    }


def _compare(rows: list[dict[str, Any]]) -> None:
    """Note at the model's rows how they compare with the best classical method of their case."""
    for row in rows:
        classical = [other for other in rows if _is_classical(other) and other["case"] == row["case"]]
        measured = [other for other in classical if "psnr_after" in other]
        if not _is_classical(row) and measured and "psnr_after" in row:
            best = max(measured, key=lambda other: float(other["psnr_after"]))
            row["best"], row["over_best"] = best["method"], row["psnr_after"] - best["psnr_after"]


def _summary(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    damaged = [
        row
        for row in rows
        if row["suite"] not in ("steps", SEAMS) and not _is_classical(row) and row["kinds"] and "gain" in row
    ]
    compared = [row for row in damaged if "over_best" in row]
    clean = [row for row in rows if not _is_classical(row) and row["suite"] == "clean" and "psnr_after" in row]
    seams = [row[f"{SEAM}_after"] for row in rows if f"{SEAM}_after" in row]
    cards = []
    if damaged:
        better = sum(row["gain"] > 0 for row in damaged)
        cards.append((f"{better} of {len(damaged)}", "rows of the model better than their input, by PSNR"))
        cards.append((f"{fmean(row['gain'] for row in damaged):+.2f} dB", "mean gain over the input"))
    if compared:
        better = sum(row["over_best"] > 0 for row in compared)
        cards.append((f"{better} of {len(compared)}", "better than the best classical method"))
    if clean:
        cards.append((f"{clean[0]['psnr_after']:.2f} dB", "clean photos after restoration"))
    if clean and "psnr_capped_after" in clean[0]:
        cards.append((f"{clean[0]['psnr_capped_after']:.2f} dB", f"the same, none above {CLEAN_CEILING:g} dB"))
        cards.append((f"{clean[0]['psnr_worst_after']:.2f} dB", f"the worst of them ({clean[0]['worst']})"))
    if seams:
        cards.append((f"{max(seams, key=abs):+.1f} %", "largest excess of the gradient across tile borders"))
    return cards


def _charts(suite: str, rows: Sequence[dict[str, Any]]) -> list[Chart | None]:
    if suite in ("ten", "mixtures"):
        by_kinds = _group(rows, lambda row: " + ".join(row["kinds"]))
        return [_gains(by_kinds), *(_levels(name, "severity", part) for name, part in by_kinds.items())]
    if suite == "denoise":
        return [_levels("Colour Gaussian noise", "sigma", rows)]
    if suite == "jpeg":
        return [_levels("JPEG", "quality", rows)]
    if suite == "steps":
        wanted = (("psnr", "PSNR", "dB"), ("gradient", "Gradient distance", "1/255"), ("lpips", "LPIPS", ""))
        charts = [_by_steps(rows, f"{key}_after", title, unit) for key, title, unit in wanted]
        return [*charts, _by_steps(rows, "seconds", "Seconds per photo", "s")]
    if suite == SEAMS:
        return [_by_steps(rows, f"{SEAM}_after", "Excess across tile borders", "%")]
    return []


def _levels(title: str, x_label: str, rows: Sequence[dict[str, Any]]) -> Chart | None:
    """PSNR against strength: input, model, best classical method at each strength."""
    rows = [row for row in rows if row["level"] is not None]
    ours = [row for row in rows if not _is_classical(row)]
    best: dict[float, float] = {}
    for row in rows:
        if _is_classical(row):
            best[row["level"]] = max(row["psnr_after"], best.get(row["level"], row["psnr_after"]))
    series = [
        Series("input", _points((row["level"], row["psnr_before"]) for row in ours), "input"),
        Series("best classical", _points(best.items()), "classical"),
    ]
    for index, (steps, part) in enumerate(_group(ours, lambda row: row["steps"]).items()):
        name = "model" if len({row["steps"] for row in ours}) == 1 else f"model, {steps:g} steps"
        colour = "model" if index == 0 else f"c{index % _COLOURS}"
        series.append(Series(name, _points((row["level"], row["psnr_after"]) for row in part), colour))
    return draw_lines(title, x_label, "PSNR, dB", series)


def _gains(by_kinds: dict[Any, list[dict[str, Any]]]) -> Chart | None:
    """Mean gain over all strengths: the model beside the best classical method."""
    ours, classical = [], []
    for number, rows in enumerate(by_kinds.values()):
        ours.append((float(number), fmean(row["gain"] for row in rows if not _is_classical(row))))
        means = [fmean(row["gain"] for row in part) for part in _group(filter(_is_classical, rows), _method).values()]
        if means:
            classical.append((float(number), max(means)))
    series = [Series("model", tuple(ours), "model"), Series("best classical", tuple(classical), "classical")]
    return draw_bars(
        "Mean gain over the input", "dB", [str(name) for name in by_kinds], [s for s in series if s.points]
    )


def _by_steps(rows: Sequence[dict[str, Any]], key: str, title: str, unit: str) -> Chart | None:
    series = [
        Series(name, _points((row["steps"], row[key]) for row in part if key in row), f"c{index % _COLOURS}")
        for index, (name, part) in enumerate(_group(rows, lambda row: row["case"]).items())
    ]
    return draw_lines(title, "steps", unit, series, doubling_x=True)


def _group(rows: Any, key: Callable[[dict[str, Any]], Any]) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _points(pairs: Any) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(x), float(y)) for x, y in pairs))


def _method(row: dict[str, Any]) -> str:
    return str(row["method"])


def _is_classical(row: dict[str, Any]) -> bool:
    return bool(row["steps"] is None)
