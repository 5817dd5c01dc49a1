"""`vlmir bench arrivals|service`: photos that come at their times, to policies in this process or to a service."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.bench_options import (
    BatchTiles,
    Device,
    Json,
    Model,
    Seed,
    Steps,
    Threads,
    make_warm_runner,
    parse_numbers,
    show_goal,
    write_figures,
)
from app.commands.exits import stop_on_service_error
from app.errors import JobFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.bench.arrivals import Latency
    from app.bench.photos import Size
    from app.bench.service import Load

SMALL = "512"
"""The small photo beside a large one."""


def arrivals(
    model: Model = "small",
    largest: Annotated[str, typer.Option(help="Largest photos that come: thumbnail, 512, 2 MP or 24 MP.")] = "2 MP",
    loads: Annotated[str, typer.Option(help="Arrival rates over the measured capacity, comma-separated.")] = "0.6,1.2",
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of each list of arrivals.")] = 120,
    callers: Annotated[int, typer.Option(min=1, help="Callers of the closed loop.")] = 8,
    jobs: Annotated[int, typer.Option(min=1, help="Photos of the closed loop.")] = 32,
    steps: Steps = 2,
    batch_tiles: BatchTiles = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Most photos in progress at once.")] = 8,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that static batching waits for equals.")] = 1.0,
    whole_mp: Annotated[float, typer.Option(min=0, help="Megapixels above which no photo is run whole.")] = 4.0,
    skip_idle: Annotated[bool, typer.Option("--skip-idle", help="Count waiting time without spending it.")] = False,
    seed: Seed = 0,
    threads: Threads = 0,
    device: Device = "cpu",
    json_out: Json = None,
) -> None:
    """Step-level batching against three other policies on the same arrivals: latency, throughput, occupancy."""
    from app.bench.photos import sizes_up_to

    try:
        shares = sizes_up_to(largest)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--largest") from error
    parts = parse_numbers(loads)
    from app.bench.replay import Clock, SkippingClock
    from app.bench.traffic import compare_policies, make_setting

    with stop_on_service_error():
        runner = make_warm_runner(model, device, threads, batch_tiles)
        setting = make_setting(runner, list(shares), steps, concurrency, timeout, whole_mp)
        rows, load = [], ""
        clock = SkippingClock if skip_idle else Clock
        for served in compare_policies(setting, shares, parts, seconds, callers, max(jobs, callers), seed, clock):
            if served.load != load:
                load = served.load
                typer.echo(load)
            typer.echo(
                f"  {served.policy}: {served.photos} photos in {served.seconds:.1f} s, "
                f"{served.photos_per_s:.3f} photos/s, {served.megapixels_per_s:.3f} MP/s, "
                f"occupancy {served.occupancy:.1%}"
            )
            _show_latencies(served.latencies)
            rows.append(asdict(served))
            figures = {"model": model, "device": device, "batch_tiles": runner.batch_tiles, "arrivals": rows}
            write_figures(json_out, figures)  # after every run: the rest takes long


def service(
    url: Annotated[str, typer.Argument(help="Address of a running service.")],
    clients: Annotated[int, typer.Option(min=1, help="Callers of the closed loop.")] = 4,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of the closed loop.")] = 24,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each open run.")] = 60,
    large: Annotated[str, typer.Option(help="Photo that small ones run beside; '' leaves this out.")] = "24 MP",
    small_jobs: Annotated[int, typer.Option(min=1, help="Small jobs beside the large one.")] = 10,
    model: Annotated[
        str, typer.Option(help="Configuration that says how the service cuts photos into tiles.")
    ] = "small",
    worker_metrics: Annotated[
        str, typer.Option(help="Address of a worker's metrics (VLMIR_METRICS_PORT), for its memory.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 0,
    json_out: Json = None,
) -> None:
    """A running service: closed loop, Poisson arrivals below and above capacity, small jobs beside a large one."""
    from app.bench import service as load
    from app.bench.arrivals import poisson
    from app.bench.memory import MemoryWatch
    from app.bench.photos import SIZES

    if large and large not in SIZES:
        raise typer.BadParameter(f"got {large!r}, expected one of {', '.join(SIZES)}", param_hint="--large")
    sizes = ["thumbnail", "512", "thumbnail", "512", "2 MP"]
    shares = {"thumbnail": 2.0, "512": 2.0, "2 MP": 1.0}
    count = _tile_counter(model) if large else None
    figures: dict[str, Any] = {"runs": []}

    def show(run: Load) -> None:
        typer.echo(f"{run.name}: {run.succeeded} done, {run.failed} not, {run.jobs_per_s:.3f} jobs/s")
        if run.held_up:
            typer.echo(f"    {run.held_up} photos were sent late: every sender was busy, the service took none in")
        _show_latencies(run.latencies)
        figures["runs"].append(asdict(run))
        write_figures(json_out, figures)  # after every run: a later one may not end

    watch = MemoryWatch(worker_metrics) if worker_metrics else None
    with stop_on_service_error(), watch or contextlib.nullcontext():
        closed = load.closed_loop(url, sizes, clients, jobs)
        show(closed)
        if not closed.succeeded:
            raise JobFailedError(f"None of {jobs} jobs succeeded, so there is no rate to send photos at.")
        for part in (0.6, 1.2):
            arrivals = poisson(part * closed.jobs_per_s, seconds, shares, seed)
            show(load.open_loop(url, arrivals, f"Poisson, {part:.0%} of the closed loop's rate"))
        if count is not None:
            figures["beside"] = _measure_company(url, large, small_jobs, count)
    if watch is not None:
        figures["worker_largest_bytes"] = watch.largest_bytes
        typer.echo(f"largest resident memory of the worker that was seen: {watch.largest_bytes / 2**20:.0f} MiB")
    write_figures(json_out, figures)


def _tile_counter(model: str) -> Callable[[Size], int]:
    """Gives the tiles of photos as a model cuts them.

    Raises:
        typer.BadParameter: There is no such model.
    """
    from app.bench.work import count_tiles
    from model.config import load_config
    from model.errors import ConfigError

    try:
        config = load_config(model)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from error
    return lambda size: count_tiles(config, size)


def _measure_company(url: str, large: str, jobs: int, count: Callable[[Size], int]) -> dict[str, Any]:
    from app.bench.service import small_beside_large

    found = small_beside_large(url, SMALL, large, jobs, count)
    typer.echo(f"{SMALL} px jobs on an idle service, then beside one of {large}")
    _show_latencies((found.idle, found.beside))
    show_goal("  p95 beside over p95 idle", found.small_ratio, "at most 2")
    typer.echo(
        f"{large} job: {found.large_alone_s:.1f} s alone, {found.large_beside_s:.1f} s with {found.beside.count} small "
        f"jobs; {found.slowdown:.3f} times as long, by tile-steps {found.slowdown_by_work:.3f} times"
    )
    show_goal("  beyond what it must be by work", found.excess * 100, "at most 10 %", " %")
    return asdict(found) | {
        "small_ratio": found.small_ratio,
        "slowdown": found.slowdown,
        "slowdown_by_work": found.slowdown_by_work,
        "excess": found.excess,
    }


def _show_latencies(rows: Iterable[Latency]) -> None:
    for row in rows:
        typer.echo(
            f"    {row.size:10s} {row.count:4d} jobs  p50 {row.p50_s:.2f}  p95 {row.p95_s:.2f}  p99 {row.p99_s:.2f} s"
        )
