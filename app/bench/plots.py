"""Charts of figures that `vlmir bench ... --json` wrote: one PNG per question."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import ServiceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 120
_COLOURS = ("#1b6ca8", "#e08e0b", "#6a994e", "#a23b72")


class PlotError(ServiceError):
    """The figures cannot be drawn."""

    code = "plot_failed"
    title = "The figures cannot be drawn"


def draw_files(files: Sequence[Path], out: Path) -> Iterator[Path]:
    """Draw every chart that the figures allow; gives the paths of the pictures, each named after its file.

    Args:
        files: JSON files with figures, from any of the commands.
        out: Folder for the pictures, made if it is missing.

    Raises:
        PlotError: A file holds nothing to draw, or matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise PlotError("Charts need matplotlib, which is not installed; pip install 'vlmir[bench]'") from None
    for path in files:
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PlotError(f"{path}: not JSON ({error}); give a file that --json of `vlmir bench` wrote") from None
        charts = list(_charts(figures)) if isinstance(figures, dict) else []
        if not charts:
            raise PlotError(f"{path}: no figures to draw; expected those of network, engine, arrivals or service")
        out.mkdir(parents=True, exist_ok=True)
        for name, draw in charts:
            target = out / f"{path.stem}-{name}.png"
            _save(draw, target)
            yield target


def _charts(figures: dict[str, Any]) -> Iterator[tuple[str, Callable[[Figure], None]]]:
    """Names of the charts that figures allow, and what draws each."""
    if forwards := figures.get("network", []):
        yield "rate", lambda figure: _draw_rate(figure, forwards)
    if "equal" in (engine := figures.get("engine", {})):
        yield "ways", lambda figure: _draw_ways(figure, engine)
    served = figures.get("arrivals", [])
    for load in dict.fromkeys(row["load"] for row in served):
        here = [row for row in served if row["load"] == load]
        slug = re.sub(r"[^a-z0-9]+", "-", load.lower()).strip("-")
        yield f"latency-{slug}", lambda figure, here=here, load=load: _draw_latency(figure, here, load)  # type: ignore[misc]
    if served:
        yield "occupancy", lambda figure: _draw_by_load(figure, served, "occupancy", "Share of places used", 100, "%")
        yield "throughput", lambda figure: _draw_by_load(figure, served, "megapixels_per_s", "Throughput", 1, "MP/s")
    if runs := figures.get("runs"):
        rows = [{**run, "policy": run["name"]} for run in runs]
        yield "service", lambda figure: _draw_latency(figure, rows, "Service")


def _save(draw: Callable[[Figure], None], target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4), dpi=_DPI, layout="constrained")
    draw(figure)
    figure.savefig(target)


def _draw_rate(figure: Figure, rows: Sequence[dict[str, Any]]) -> None:
    """Rate and time of a forward over the size of its batch."""
    axes = figure.subplots()
    batches = [row["batch"] for row in rows]
    axes.plot(batches, [row["tiles_per_s"] for row in rows], "o-", color=_COLOURS[0])
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="Tiles in one forward", ylabel="Tile-steps per second", title="Bare network")
    axes.grid(alpha=0.3)


def _draw_ways(figure: Figure, engine: dict[str, Any]) -> None:
    """Rate of every way to serve photos that all wait, for equal and for mixed sizes."""
    axes = figure.subplots()
    sets = [name for name in ("equal", "mixed") if name in engine]
    ways = [row["way"] for row in engine[sets[0]]["ways"]]
    for index, way in enumerate(ways):
        values = [next(row["megapixels_per_s"] for row in engine[name]["ways"] if row["way"] == way) for name in sets]
        _bars(axes, index, len(ways), values, way)
    axes.set_xticks(range(len(sets)), [f"{name} sizes" for name in sets])
    axes.set(ylabel="Megapixels per second", title="All photos waiting")
    _finish(figure, axes)


def _draw_latency(figure: Figure, rows: Sequence[dict[str, Any]], title: str) -> None:
    """Median of every policy and size as bars, with a whisker up to the 95th percentile."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = figure.subplots()
    sizes = list(dict.fromkeys(item["size"] for row in rows for item in row["latencies"]))
    for index, row in enumerate(rows):
        found = {item["size"]: item for item in row["latencies"]}
        medians = [found[size]["p50_s"] if size in found else float("nan") for size in sizes]
        above = [found[size]["p95_s"] - found[size]["p50_s"] if size in found else float("nan") for size in sizes]
        _bars(axes, index, len(rows), medians, row["policy"], above)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")  # not powers of ten
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set(ylabel="Latency in seconds (bar: p50, whisker: p95)", title=title)
    _finish(figure, axes)


def _draw_by_load(
    figure: Figure, rows: Sequence[dict[str, Any]], key: str, title: str, factor: float, unit: str
) -> None:
    """One value of every policy, load by load."""
    axes = figure.subplots()
    loads = list(dict.fromkeys(row["load"] for row in rows))
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    values = {(row["load"], row["policy"]): row[key] * factor for row in rows}
    for index, policy in enumerate(policies):
        heights = [values.get((load, policy), float("nan")) for load in loads]
        _bars(axes, index, len(policies), heights, policy)
    axes.set_xticks(range(len(loads)), loads)
    axes.set(ylabel=unit, title=title)
    _finish(figure, axes)


def _bars(
    axes: Axes, index: int, count: int, heights: Sequence[float], label: str, above: Sequence[float] | None = None
) -> None:
    """The bars of one of `count` series side by side, with whiskers of these lengths above them."""
    width = 0.8 / count
    places = [place + (index - (count - 1) / 2) * width for place in range(len(heights))]
    whiskers = None if above is None else [[0.0] * len(heights), list(above)]
    colour = _COLOURS[index % len(_COLOURS)]
    axes.bar(places, heights, width, label=label, color=colour, yerr=whiskers, capsize=2)


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", frameon=False)
