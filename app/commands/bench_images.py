"""`vlmir bench formats|fuzz-images|bombs`: what is kept of photos, and what hostile uploads do to the decoders."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.commands.bench_options import Json, Seed, show_goal, write_figures
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

_HEADINGS = {
    "kind": "upload",
    "result": "result",
    "upright": "upright",
    "bits": "bits",
    "pixels": "pixels",
    "colours": "as seen",
    "alpha": "alpha",
    "profile": "profile",
    "exif": "EXIF",
    "dpi": "dpi",
    "preview": "preview",
    "place": "GPS stripped",
    "settings": "settings",
}


def formats(json_out: Json = None) -> None:
    """Kinds of files through decoder and encoder, with nothing done to their pixels: what is kept of each."""
    from app.bench.formats import measure_round_trips

    with stop_on_service_error():
        rows = [asdict(trip) for trip in measure_round_trips()]
    typer.echo("| " + " | ".join(_HEADINGS.values()) + " |")
    typer.echo("|" + "---|" * len(_HEADINGS))
    for row in rows:
        typer.echo("| " + " | ".join(row[name] for name in _HEADINGS) + " |")
    write_figures(json_out, {"formats": rows})


def fuzz_images(
    files: Annotated[int, typer.Option(min=1, help="How many hostile uploads.")] = 10_000,
    seed: Seed = 0,
    json_out: Json = None,
) -> None:
    """Damaged and hostile uploads through check, decoder and encoder, in a process that is watched."""
    from app.bench.fuzz import fuzz

    def show(done: int) -> None:
        if done % 1000 == 0:
            typer.echo(f"{done} of {files}")

    found = fuzz(files, seed, show)
    typer.echo(f"{found.files} uploads: {_list(found.outcomes)}")
    for change, outcomes in sorted(found.by_change.items()):
        typer.echo(f"  {change}: {_list(outcomes)}")
    show_goal("processes that died", len(found.dead), "0")
    show_goal("uploads that took over a minute", len(found.hung), "0")
    show_goal("errors that are no refusals", len(found.uncaught), "0")
    typer.echo(f"slowest upload: {found.slowest_s * 1000:.0f} ms (number {found.slowest})")
    typer.echo(f"largest memory for one upload: {found.largest_growth_bytes / 2**20:.0f} MiB (number {found.largest})")
    typer.echo(f"memory not given back, from the second tenth to the last: {found.kept_bytes / 2**20:.1f} MiB")
    write_figures(json_out, {"seed": seed, "fuzz_images": asdict(found) | {"kept_bytes": found.kept_bytes}})
    if found.dead or found.hung or found.uncaught:
        raise typer.Exit(EXIT_FAILED)


def bombs(json_out: Json = None) -> None:
    """Small files that cost much: time and memory until each is refused."""
    from app.bench.refusals import measure_refusals

    rows = measure_refusals()
    typer.echo(f"{'file':45s} {'bytes':>10s} {'ms':>8s} {'MiB':>6s}  refused as")
    for row in rows:
        surprise = "" if row.code == row.expected else f" (expected {row.expected})"
        memory = row.growth_bytes / 2**20
        typer.echo(f"{row.name:45s} {row.file_bytes:10d} {row.milliseconds:8.1f} {memory:6.1f}  {row.code}{surprise}")
    show_goal("longest", max(row.milliseconds for row in rows), "at most 100", " ms")
    show_goal("largest", max(row.growth_bytes for row in rows) / 2**20, "at most 64", " MiB")
    write_figures(json_out, {"bombs": [asdict(row) for row in rows]})
    if any(row.code == "accepted" for row in rows):
        raise typer.Exit(EXIT_FAILED)


def _list(counts: dict[str, int]) -> str:
    """Give counts in words, the largest first."""
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1]))
