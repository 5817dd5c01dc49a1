"""The report of a run: a table as text, a picture, and all figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.judging import JUDGED_FROM_S, LASTING
from tests.soak.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIB = 2**20
_DPI = 110
_COLOURS = ("#1b6ca8", "#e08e0b", "#6a994e", "#a23b72")


def write_report(outcome: Outcome, folder: Path) -> str:
    """Write `soak.json`, `soak.png` and `soak.txt` into a folder; gives the text.

    Args:
        outcome: What came of the run.
        folder: Made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(_lines(outcome)) + "\n"
    (folder / "soak.txt").write_text(text, encoding="utf-8")
    (folder / "soak.json").write_text(json.dumps(_figures(outcome), indent=1), encoding="utf-8")
    _draw(outcome, folder / "soak.png")
    return text


def _lines(outcome: Outcome) -> Iterator[str]:
    plan, tally = outcome.plan, outcome.tally
    yield f"load: {plan.seconds / 60:.1f} minutes, {plan.callers} callers, model {plan.model}, seed {plan.seed}"
    yield f"scenes: {tally.scenes.total():,}, of which {tally.expired} came after something had expired"
    yield "answers: " + ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.answers.items()))
    yield "jobs waited for: " + ", ".join(f"{state}: {count:,}" for state, count in sorted(tally.jobs.items()))
    yield f"visits of a second worker: {len(outcome.visits)}"
    yield from (f"  WRONG {failure}" for failure in tally.failures)
    yield ""
    yield "memory (RSS), medians of the quarters of the load and growth of a Theil-Sen line over its second half:"
    for name, found in outcome.trends.items():
        quarters = "  ".join(f"{value / _MIB:7.1f}" for value in found.quarters)
        yield f"  {name:<8} {quarters}  MiB   {found.growth:+.2%}"
    if plan.seconds < JUDGED_FROM_S:
        yield f"  not judged: loads under {JUDGED_FROM_S / 60:.0f} minutes are too short for that"
    yield ""
    width = max((len(verdict.name) for verdict in outcome.verdicts), default=0)
    for verdict in outcome.verdicts:
        word = "ok" if verdict.is_kept else "BROKEN"
        yield f"{verdict.name:<{width}}  {verdict.found:<30} at most {verdict.bound:<12} {word}"
    yield ""
    yield "keys without a time at the end:"
    for name, size in sorted(outcome.lasting.items()):
        why = next((why for word, why in LASTING.items() if f":{word}" in name), "NOT KNOWN")
        yield f"  {name:<28} {size:>8,} bytes  {why}"


def _figures(outcome: Outcome) -> dict[str, object]:
    tally = outcome.tally
    return {
        "plan": asdict(outcome.plan),
        "verdicts": [asdict(verdict) for verdict in outcome.verdicts],
        "trends": {name: asdict(found) for name, found in outcome.trends.items()},
        "before": outcome.before,
        "after": outcome.after,
        "redis_memory": outcome.memory,
        "lasting": outcome.lasting,
        "visits": outcome.visits,
        "scenes": tally.scenes,
        "answers": tally.answers,
        "jobs": tally.jobs,
        "failures": tally.failures,
        "expired": tally.expired,
        "times": outcome.times,
        "processes": {name: [asdict(one) for one in samples] for name, samples in outcome.processes.items()},
        "redis": [asdict(sample) for sample in outcome.server],
    }


def _draw(outcome: Outcome, target: Path) -> None:
    """Memory of each process over the load, with the line that is judged, and below it what Redis holds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 2.0 * (len(outcome.processes) + 1)), dpi=_DPI, layout="constrained")
    rows: list[Axes] = list(figure.subplots(len(outcome.processes) + 1, 1, sharex=True))
    minutes = [time / 60 for time in outcome.times]
    for number, (axes, (name, samples)) in enumerate(zip(rows, outcome.processes.items(), strict=False)):
        values = [sample.resident_bytes / _MIB for sample in samples]
        axes.plot(minutes[: len(values)], values, ".", markersize=2, color=_COLOURS[number])
        if name in outcome.trends:
            found = outcome.trends[name]
            ends = [minutes[0] + (minutes[-1] - minutes[0]) / 2, minutes[-1]]
            axes.plot(ends, [value / _MIB for value in found.line], color="black", linewidth=1)
            axes.set_title(f"{name}: {found.growth:+.2%} in the second half", fontsize="medium", loc="left")
        axes.set_ylim(0, 1.15 * max(values))
        axes.set_ylabel("MiB (RSS)")
    keys = rows[-1]
    count = len(outcome.server)
    keys.plot(minutes[:count], [sample.keys for sample in outcome.server], color=_COLOURS[3], linewidth=1)
    keys.set_title("Redis: keys, and used memory (dotted)", fontsize="medium", loc="left")
    keys.set(xlabel="Minutes of load", ylabel="keys")
    used = keys.twinx()
    used.plot(minutes[:count], [sample.used_bytes / _MIB for sample in outcome.server], ":", color="black", linewidth=1)
    used.set_ylabel("MiB")
    for axes in (keys, used):
        axes.set_ylim(bottom=0)
    for axes in rows:
        axes.grid(alpha=0.3)
    figure.savefig(target)
