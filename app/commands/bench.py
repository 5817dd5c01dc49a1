"""`vlmir bench`: figures of speed and of invariance, printed and optionally written as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.bench_api import accept, fuzz_api
from app.commands.bench_events import events
from app.commands.bench_fetch import ssrf
from app.commands.bench_images import bombs, formats, fuzz_images
from app.commands.bench_load import arrivals, service
from app.commands.bench_options import (
    BatchTiles,
    Device,
    Json,
    Model,
    Rounds,
    Seed,
    Steps,
    Threads,
    make_warm_runner,
    parse_numbers,
    show_goal,
    write_figures,
)
from app.commands.exits import stop_on_service_error

if TYPE_CHECKING:
    from app.worker.runner import Runner
    from model.pipeline import Restorer

app = typer.Typer(help="Measure speed.", no_args_is_help=True)


@app.command()
def network(
    model: Model = "small",
    batches: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = "1,2,4,8",
    rounds: Rounds = 7,
    threads: Threads = 0,
    device: Device = "cpu",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network first (torch.compile).")] = False,
    json_out: Json = None,
) -> None:
    """The bare network per batch size: time, rate, TFLOP/s, share of the device's peak."""
    import torch

    from app.bench.network import measure_network

    sizes = [int(number) for number in parse_numbers(batches)]
    if threads:
        torch.set_num_threads(threads)
    rows = []
    with stop_on_service_error():
        restorer = _load(model, device)
    typer.echo(f"{'batch':>5s} {'ms':>8s} {'tiles/s':>8s} {'TFLOP/s':>8s} {'of peak':>8s}")
    for row in measure_network(restorer, sizes, rounds, compiled):
        typer.echo(
            f"{row.batch:5d} {row.milliseconds:8.1f} {row.tiles_per_s:8.2f} {row.tflop_per_s:8.3f} "
            f"{row.share_of_peak:8.1%}"
        )
        rows.append(asdict(row))
    write_figures(json_out, {"model": model, "device": device, "compiled": compiled, "network": rows})


@app.command()
def engine(
    model: Model = "small",
    jobs: Annotated[int, typer.Option(min=1, help="Photos waiting at once.")] = 16,
    side: Annotated[int, typer.Option(min=1, help="Side of the equal photos, px.")] = 512,
    steps: Steps = 2,
    batch_tiles: BatchTiles = 0,
    rounds: Rounds = 3,
    threads: Threads = 0,
    device: Device = "cpu",
    trace: Annotated[
        Path | None, typer.Option(help="Only trace a worker's threads on PNG files; Chrome's trace format.")
    ] = None,
    json_out: Json = None,
) -> None:
    """The engine against the bare network, and step-level batching against other ways to serve the same photos."""
    from app.bench.engine import compare_ways, measure_overheads

    with stop_on_service_error():
        runner = make_warm_runner(model, device, threads, batch_tiles)
    equal = [(side, side)] * jobs
    parts = ((2, 2), (4, 4), (6, 4), (3, 8))
    mixed = [(side * width // 4, side * height // 4) for width, height in parts * (jobs // 4 + 1)][:jobs]
    typer.echo(f"batches of up to {runner.batch_tiles} tiles")
    figures: dict[str, Any] = {"batch_tiles": runner.batch_tiles}
    if trace is not None:
        with stop_on_service_error():
            figures["overlap"] = _trace(runner, mixed, steps, trace)
        write_figures(json_out, {"model": model, "device": device, "engine": figures})
        return
    overheads = measure_overheads(runner, {"equal": equal, "mixed": mixed}, steps, rounds)
    for name, sizes in (("equal", equal), ("mixed", mixed)):
        overhead = overheads[name]
        typer.echo(
            f"{name}: engine {overhead.engine_s:.2f} s, bare network {overhead.network_s:.2f} s, "
            f"{overhead.tile_steps_per_s:.2f} tile-steps/s ({overhead.tile_steps} in {overhead.batches} batches)"
        )
        show_goal("  engine over bare network", overhead.ratio, "at most 1.05")
        ways = compare_ways(runner, sizes, steps, rounds)
        first = ways[0].megapixels_per_s
        typer.echo(f"  {'way':28s} {'seconds':>8s} {'forwards':>8s} {'items':>6s} {'MP/s':>7s} {'batching is':>11s}")
        for way in ways:
            times = first / way.megapixels_per_s
            typer.echo(
                f"  {way.way:28s} {way.seconds:8.2f} {way.forwards:8d} {way.items:6d} {way.megapixels_per_s:7.3f} "
                f"{times:10.2f}x"
            )
        figures[name] = {
            "overhead": asdict(overhead) | {"ratio": overhead.ratio, "tile_steps_per_s": overhead.tile_steps_per_s},
            "ways": [asdict(way) for way in ways],
            "over_one_by_one": ways[1].seconds / ways[0].seconds,
        }
    figures["mixed_over_equal"] = overheads["mixed"].tile_steps_per_s / overheads["equal"].tile_steps_per_s
    show_goal("tile-steps per second, mixed sizes over equal ones", figures["mixed_over_equal"], "at least 0.95")
    show_goal(
        f"rate of {jobs} waiting photos over one by one",
        figures["equal"]["over_one_by_one"],
        "at least 3 on a data-centre GPU, 1.0 on a CPU",
    )
    write_figures(json_out, {"model": model, "device": device, "engine": figures})


@app.command()
def invariance(
    model: Model = "small",
    mixes: Annotated[int, typer.Option(min=1, help="Random mixes of photos.")] = 200,
    photos: Annotated[int, typer.Option(min=2, help="Photos that the mixes draw from.")] = 40,
    side: Annotated[int, typer.Option(min=16, help="Longest side of a photo, px.")] = 320,
    steps: Annotated[int, typer.Option(min=1, help="Most denoising steps of a photo.")] = 3,
    batch_tiles: BatchTiles = 0,
    seed: Seed = 0,
    threads: Threads = 0,
    device: Device = "cpu",
    json_out: Json = None,
) -> None:
    """Photos restored in random company against the same photos alone: the largest difference, and how many pixels."""
    from app.bench.invariance import draw_pool, measure_invariance

    with stop_on_service_error():
        runner = make_warm_runner(model, device, threads, batch_tiles)
        for sums in measure_invariance(runner, mixes, draw_pool(photos, side, steps, seed), seed=seed):
            if sums.mixes % 20 == 0 or sums.mixes == mixes:
                typer.echo(f"{sums.mixes:4d} mixes: {sums.photos} photos, {sums.pixels} pixels compared")
    show_goal("largest difference of a value, in 1/255", sums.largest, "at most 1")
    typer.echo(f"pixels that differ after rounding: {sums.differing} of {sums.pixels}")
    show_goal("  their share", sums.differing_share, "at most 1e-05 on a CPU in float32")
    figures = asdict(sums) | {"differing_share": sums.differing_share}
    write_figures(json_out, {"model": model, "device": device, "invariance": figures})


@app.command()
def plot(
    files: Annotated[list[Path], typer.Argument(help="Files that --json of the other commands wrote.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("bench"),
) -> None:
    """Draw PNG charts of figures."""
    from app.bench.plots import draw_files

    with stop_on_service_error():
        for path in draw_files(files, out):
            typer.echo(str(path))


app.command()(arrivals)
app.command()(service)
app.command()(events)
app.command()(formats)
app.command()(fuzz_images)
app.command()(bombs)
app.command()(ssrf)
app.command()(accept)
app.command()(fuzz_api)


def _trace(runner: Runner, sizes: list[tuple[int, int]], steps: int, path: Path) -> dict[str, float]:
    """Trace a workbench, write the trace, print and give its figures."""
    from app.bench.overlap import measure_overlap, trace_workbench
    from app.worker.models import ModelSet

    trace = trace_workbench(lambda: ModelSet({runner.name: runner}), sizes, steps, concurrency=8)
    trace.write(path)
    found = measure_overlap(trace.spans)
    typer.echo(f"{len(sizes)} PNG files in {found.window_s:.2f} s; {path} opens in chrome://tracing or ui.perfetto.dev")
    typer.echo(f"model thread busy: {found.model_busy_s:.2f} s, photo threads: {found.photo_busy_s:.2f} s")
    typer.echo(f"  share of the model's time with a photo thread busy too: {found.overlapped_share:.1%}")
    typer.echo(f"  share of the photo threads' time with the model busy too: {found.hidden_share:.1%}")
    typer.echo(f"model thread idle while work was there: {found.idle_share:.2%} of the time")
    typer.echo(
        f"  at most {found.waiting_share:.2%} for a photo to be decoded or encoded (the rest: turns of the loop)"
    )
    typer.echo(f"  longest pause: {found.longest_idle_s * 1000:.1f} ms")
    return asdict(found) | {
        "overlapped_share": found.overlapped_share,
        "hidden_share": found.hidden_share,
        "idle_share": found.idle_share,
        "waiting_share": found.waiting_share,
    }


def _load(model: str, device: str) -> Restorer:
    """The model, with the words of a service error where it cannot be loaded."""
    from app.worker.failures import to_service_error
    from model.errors import ModelError
    from model.pipeline import Restorer

    try:
        return Restorer.load(model, device)
    except ModelError as error:
        raise to_service_error(error) from error
