"""`vlmir bench accept|fuzz-api`: what accepting a photo costs, and what hostile uploads do to a service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.bench_options import Device, Json, Model, Seed, show_goal, write_figures
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.bench.accept import AcceptLoad, Taken, Target
    from app.bench.fuzz_api import ApiFuzz, FuzzLoad
    from app.bench.vitals import Vitals, VitalsWatch

_ENOUGH_QUEUED = str(10**9)


def accept(
    requests: Annotated[int, typer.Option(min=1, help="Uploads to each in a round.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in which both take turns.")] = 7,
    callers: Annotated[int, typer.Option(min=1, help="Connections that upload at a time.")] = 8,
    photo_bytes: Annotated[int, typer.Option(min=2000, help="Size of the JPEG.")] = 200_000,
    json_out: Json = None,
) -> None:
    """Uploads to POST /restore against a bare FastAPI echo of uploads, both started here, without a worker."""
    from app.bench.accept import AcceptLoad, make_photo, measure_accept, ratio_of
    from app.bench.emptying import empty_redis

    load = AcceptLoad(make_photo(photo_bytes), requests, rounds, callers)

    async def measure(targets: tuple[Target, Target], redis_url: str) -> tuple[Taken, Taken]:
        return await measure_accept(targets, load, lambda: empty_redis(redis_url))

    with stop_on_service_error(), _accept_targets() as (targets, redis_url):
        taken = asyncio.run(measure(targets, redis_url))
    ratio = ratio_of(*taken)
    typer.echo(f"{rounds} rounds of {requests} uploads of {len(load.photo):,} bytes to each, {callers} at a time")
    typer.echo(f"{'':14s} {'uploads/s':>9s} {'p50 ms':>7s} {'p99 ms':>7s}  processor time per upload")
    for side in taken:
        spent = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in side.cpu_ms().items())
        typer.echo(
            f"{side.name:14s} {side.requests_per_s:9.1f} {side.percentile_ms(0.5):7.1f} {side.percentile_ms(0.99):7.1f}"
            f"  {spent}"
        )
    show_goal("rate of POST /restore over the echo's", ratio, "at least 0.5")
    write_figures(json_out, {"accept": _accept_figures(load, taken, ratio)})


def fuzz_api(
    url: Annotated[
        str | None, typer.Argument(help="Address of a running service [default: one is started and stopped].")
    ] = None,
    uploads: Annotated[int, typer.Option(min=1, help="How many hostile uploads.")] = 10_000,
    first: Annotated[int, typer.Option(min=0, help="Number of the first, to repeat one.")] = 0,
    at_once: Annotated[int, typer.Option(min=1, help="Uploads, with their restorations, at a time.")] = 8,
    jobs: Annotated[
        int, typer.Option(min=0, help="Most restorations to wait for; accepted photos beyond are deleted at once.")
    ] = 2000,
    model: Model = "small",
    device: Device = "cpu",
    worker_metrics: Annotated[
        str, typer.Option(help="With an address: that of a worker's metrics (VLMIR_METRICS_PORT) too.")
    ] = "",
    api_key: ApiKeyOption = None,
    seed: Seed = 0,
    json_out: Json = None,
) -> None:
    """Damaged and hostile uploads to a service over HTTP: answers, errors of the server, dead workers, memory."""
    from app.bench.fuzz_api import fuzz_service, hostile_load, original_load

    def show(done: int) -> None:
        if done % 1000 == 0:
            typer.echo(f"{done} of {uploads}")

    def fuzz(load: FuzzLoad, address: str) -> ApiFuzz:
        return asyncio.run(fuzz_service(address, load, api_key if url is not None else None, show))

    with stop_on_service_error(), _fuzzed_service(url, model, device, worker_metrics, api_key) as (address, watched):
        warm = fuzz(original_load(), address)
        with watched() as watch:
            found = fuzz(hostile_load(uploads, seed, at_once, jobs, first), address)
    _show_fuzz(found, warm)
    for name, vitals in watch.seen.items():
        typer.echo(
            f"{name}: {vitals.first_bytes / 2**20:.0f} MiB at first, {vitals.largest_bytes / 2**20:.0f} at most "
            f"({vitals.growth_bytes / 2**20:+.0f}), {vitals.last_bytes / 2**20:.0f} in the end"
        )
    restarts = sum(vitals.restarts + vitals.is_gone for vitals in watch.seen.values())
    show_goal("answers from 500 on", len(found.server_errors), "0")
    show_goal("uploads without an answer", len(found.unanswered), "0")
    show_goal("processes that died or started anew", restarts, "0")
    unfinished, harmed = len(found.unfinished) + len(warm.unfinished), len(found.harmed) + len(warm.harmed)
    show_goal("restorations that did not end", unfinished, "0")
    show_goal("accepted photos that were lost or failed for want of the service", harmed, "0")
    write_figures(json_out, {"seed": seed, "fuzz_api": asdict(found) | {"processes": _vitals(watch.seen)}})
    if found.server_errors or found.unanswered or restarts or unfinished or harmed:
        raise typer.Exit(EXIT_FAILED)


@contextlib.contextmanager
def _accept_targets() -> Iterator[tuple[tuple[Target, Target], str]]:
    """Run an API with an embedded Redis, and the echo; gives both and the address of the Redis."""
    from app.bench.accept import Target
    from app.bench.processes import listening, own_environment
    from app.jobs.embedded import EmbeddedRedis

    with tempfile.TemporaryDirectory(prefix="vlmir-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        redis = EmbeddedRedis(folder)
        redis.start()
        stack.callback(redis.stop)
        environment = own_environment(redis_url=redis.url, max_queued=_ENOUGH_QUEUED)
        command = [sys.executable, "-m", "app.cli", "api", "--stop-on-eof", "--fd"]
        api = stack.enter_context(listening(command, environment, folder / "api.log"))
        command = [sys.executable, "-m", "app.bench.echo"]
        echo = stack.enter_context(listening(command, environment, folder / "echo.log"))
        client = {"client": os.getpid()}  # on few cores it takes from what it measures
        pids = {"API": api.pid} | ({} if redis.pid is None else {"Redis": redis.pid}) | client
        yield (
            (
                Target("POST /restore", f"{api.url}/restore", 202, pids),
                Target("echo", f"{echo.url}/echo", 200, {"echo": echo.pid} | client),
            ),
            redis.url,
        )


def _accept_figures(load: AcceptLoad, taken: tuple[Taken, Taken], ratio: float) -> dict[str, Any]:
    sides = {
        name: {
            "requests_per_s": side.requests_per_s,
            "p50_ms": side.percentile_ms(0.5),
            "p99_ms": side.percentile_ms(0.99),
            "rates": side.rates,
            "cpu_ms": side.cpu_ms(),
        }
        for name, side in zip(("restore", "echo"), taken, strict=True)
    }
    about = {"photo_bytes": len(load.photo), "requests": load.requests, "callers": load.callers}
    return about | {"ratio": ratio} | sides


@contextlib.contextmanager
def _fuzzed_service(
    url: str | None, model: str, device: str, worker_metrics: str, api_key: str | None
) -> Iterator[tuple[str, Any]]:
    """Give the address of a service and what begins to watch its processes; without an address one is started."""
    from app.bench.processes import running_service
    from app.bench.vitals import can_see_processes, watch_children, watch_metrics

    if url is not None:
        addresses = {"API": f"{url.rstrip('/')}/metrics"} | ({"worker": worker_metrics} if worker_metrics else {})
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        yield url, lambda: watch_metrics(addresses, headers)
        return
    with (
        tempfile.TemporaryDirectory(prefix="vlmir-bench-") as folder,
        running_service(Path(folder), model, device) as service,
    ):

        def watched() -> VitalsWatch:
            if can_see_processes():
                return watch_children(service.pid)
            return watch_metrics({"API": f"{service.url}/metrics"})

        yield service.url, watched


def _show_fuzz(found: ApiFuzz, warm: ApiFuzz) -> None:
    typer.echo(f"undamaged files: {_list(warm.statuses)}; jobs: {_list(warm.jobs)}")
    typer.echo(f"{found.uploads} uploads: {_list(found.statuses)}")
    for change, statuses in sorted(found.by_change.items()):
        typer.echo(f"  {change}: {_list(statuses)}")
    typer.echo(f"jobs of those accepted: {_list(found.jobs)}")
    typer.echo(f"slowest answer: {found.slowest_s * 1000:.0f} ms (number {found.slowest})")
    for line in (*found.server_errors, *found.unanswered, *found.harmed, *warm.harmed):
        typer.echo(f"  {line}")


def _vitals(seen: dict[str, Vitals]) -> dict[str, Any]:
    return {name: asdict(vitals) | {"growth_bytes": vitals.growth_bytes} for name, vitals in seen.items()}


def _list(counts: dict[str, int]) -> str:
    """Give counts in words, the largest first."""
    return ", ".join(f"{count} x {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
