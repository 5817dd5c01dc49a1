"""`vlmir bench network|engine|service`: figures of speed, printed and optionally written as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.exits import stop_on_service_error
from app.errors import JobFailedError

if TYPE_CHECKING:
    from model.pipeline import Restorer

app = typer.Typer(help="Measure speed.", no_args_is_help=True)

Model = Annotated[str, typer.Option(help="Name of a model, or a folder with one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 takes torch's default.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns; figures are medians over them.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]


@app.command()
def network(
    model: Model = "small",
    batches: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = "1,2,4,8",
    rounds: Rounds = 7,
    threads: Threads = 0,
    device: Device = "cpu",
    json_out: Json = None,
) -> None:
    """The bare network per batch size: time, rate, TFLOP/s, share of the device's peak."""
    import torch

    from app.bench.network import measure_network

    if threads:
        torch.set_num_threads(threads)
    rows = []
    with stop_on_service_error():
        restorer = _load(model, device)
    typer.echo(f"{'batch':>5s} {'ms':>8s} {'tiles/s':>8s} {'TFLOP/s':>8s} {'of peak':>8s}")
    for row in measure_network(restorer, _numbers(batches), rounds):
        typer.echo(
            f"{row.batch:5d} {row.milliseconds:8.1f} {row.tiles_per_s:8.2f} {row.tflop_per_s:8.3f} "
            f"{row.share_of_peak:8.1%}"
        )
        rows.append(asdict(row))
    _write(json_out, {"model": model, "device": device, "network": rows})


@app.command()
def engine(
    model: Model = "small",
    jobs: Annotated[int, typer.Option(min=1, help="Photos waiting at once.")] = 16,
    side: Annotated[int, typer.Option(min=1, help="Side of the equal photos, px.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of every photo.")] = 2,
    batch_tiles: Annotated[int, typer.Option(min=1, help="Most tiles in one forward.")] = 8,
    rounds: Rounds = 3,
    threads: Threads = 0,
    device: Device = "cpu",
    json_out: Json = None,
) -> None:
    """The engine against the bare network, and step-level batching against other ways to serve the same photos."""
    from app.bench.engine import compare_ways, measure_overhead
    from app.images import ImageLimits
    from app.worker.runner import Runner

    runner = Runner(model, device, threads, batch_tiles, ImageLimits())
    with stop_on_service_error():
        runner.load()
        runner.warm_up()
    equal = [(side, side)] * jobs
    mixed = [(side * part // 4, side * other // 4) for part, other in ((2, 2), (4, 4), (6, 4), (3, 8))] * (
        jobs // 4 + 1
    )
    figures: dict[str, Any] = {"batch_tiles": runner.batch_tiles}
    typer.echo(f"batches of up to {runner.batch_tiles} tiles")
    for name, sizes in (("equal", equal), ("mixed", mixed[:jobs])):
        overhead = measure_overhead(runner, sizes, steps, rounds)
        typer.echo(
            f"{name}: engine {overhead.engine_s:.2f} s, bare network {overhead.network_s:.2f} s, "
            f"ratio {overhead.ratio:.3f} ({overhead.tile_steps} tile-steps, {overhead.batches} batches)"
        )
        ways = compare_ways(runner, sizes, steps, rounds)
        first = ways[0].megapixels_per_s
        typer.echo(f"  {'way':28s} {'seconds':>8s} {'MP/s':>7s} {'batching is':>11s}")
        for way in ways:
            times = first / way.megapixels_per_s
            typer.echo(f"  {way.way:28s} {way.seconds:8.2f} {way.megapixels_per_s:7.3f} {times:10.2f}x")
        figures[name] = {
            "overhead": asdict(overhead) | {"ratio": overhead.ratio},
            "ways": [asdict(way) for way in ways],
        }
    _write(json_out, {"model": model, "device": device, "engine": figures})


@app.command()
def service(
    url: Annotated[str, typer.Argument(help="Address of a running service.")],
    clients: Annotated[int, typer.Option(min=1, help="Callers of the closed loop.")] = 4,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of the closed loop, and small jobs beside a large one.")] = 24,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each open run.")] = 60,
    large: Annotated[str, typer.Option(help="Photo that small ones run beside; '' leaves this out.")] = "24 MP",
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 0,
    json_out: Json = None,
) -> None:
    """A running service: closed loop, Poisson arrivals below and above capacity, small jobs beside a large one."""
    from app.bench import service as load
    from app.bench.arrivals import poisson

    if large and large not in load.SIZES:
        raise typer.BadParameter(f"got {large!r}, expected one of {', '.join(load.SIZES)}", param_hint="--large")
    sizes = ["thumbnail", "512", "thumbnail", "512", "2 MP"]
    shares = {"thumbnail": 2.0, "512": 2.0, "2 MP": 1.0}
    figures: dict[str, Any] = {"runs": []}

    def show(run: load.Load) -> None:
        typer.echo(f"{run.name}: {run.succeeded} done, {run.failed} not, {run.jobs_per_s:.3f} jobs/s")
        for row in run.latencies:
            typer.echo(
                f"  {row.size:10s} {row.count:4d} jobs  p50 {row.p50_s:.2f}  p95 {row.p95_s:.2f}  p99 {row.p99_s:.2f} s"
            )
        figures["runs"].append(asdict(run))
        _write(json_out, figures)  # after every run: a later one may not end

    with stop_on_service_error():
        closed = load.closed_loop(url, sizes, clients, jobs)
        show(closed)
        if not closed.succeeded:
            raise JobFailedError(f"None of {jobs} jobs succeeded, so there is no rate to send photos at.")
        for part in (0.6, 1.2):
            arrivals = poisson(part * closed.jobs_per_s, seconds, shares, seed)
            show(load.open_loop(url, arrivals, f"Poisson, {part:.0%} of the closed loop's rate"))
        if large:
            beside = load.small_beside_large(url, "512", large, jobs)
            for name, row in beside.items():
                typer.echo(f"512 px job, {name}: {row.count} jobs  p50 {row.p50_s:.2f}  p95 {row.p95_s:.2f} s")
            figures["beside"] = {name: asdict(row) for name, row in beside.items()}
            _write(json_out, figures)


def _load(model: str, device: str) -> Restorer:
    """The model, with the words of a service error where it cannot be loaded."""
    from app.worker.runner import to_service_error
    from model.errors import ModelError
    from model.pipeline import Restorer

    try:
        return Restorer.load(model, device)
    except ModelError as error:
        raise to_service_error(error) from error


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"got {text!r}, expected whole numbers, comma-separated, such as 1,2,4") from error


def _write(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps({**figures, "machine": platform.machine()}, indent=2) + "\n", encoding="utf-8")
