"""`vlmir bench events`: a real service, and followers whose connections break off at random."""

from __future__ import annotations

import asyncio
import io
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.bench_options import Json, Model, Seed, show_goal, write_figures
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.bench.events import FollowFigures, Load


def events(
    cuts: Annotated[int, typer.Option(min=1, help="Connections to break off.")] = 50,
    at_once: Annotated[int, typer.Option(min=1, help="Jobs that are followed at a time.")] = 6,
    steps: Annotated[int, typer.Option(min=1, max=100, help="Denoising steps of every job.")] = 100,
    side: Annotated[int, typer.Option(min=16, help="Side of the photos, px.")] = 64,
    previews: Annotated[bool, typer.Option(help="Ask for previews too, which may be missed.")] = False,
    model: Model = "tiny",
    seed: Seed = 0,
    json_out: Json = None,
) -> None:
    """Events of jobs followed while connections break off at random: how many were lost, how many came twice."""
    from app.bench.events import Load

    load = Load(cuts, at_once, steps, _photo(side), seed, previews)
    with stop_on_service_error():
        figures = _measure(load, model)
    typer.echo(
        f"{figures.jobs} jobs in {figures.seconds:.1f} s, followed over {figures.connections} connections, "
        f"{figures.cuts} of them broken off"
    )
    typer.echo(f"events written: {figures.written}, received: {figures.received}")
    show_goal("connections broken off", figures.cuts, f"at least {cuts}")
    show_goal("events lost", figures.lost, "0")
    show_goal("events received twice", figures.doubled, "0")
    show_goal("events out of order", figures.out_of_order, "0")
    show_goal("events with other content than written", figures.strange, "0")
    write_figures(json_out, {"seed": seed, "events": asdict(figures)})
    if figures.lost or figures.doubled or figures.out_of_order or figures.strange:
        raise typer.Exit(EXIT_FAILED)


def _measure(load: Load, model: str) -> FollowFigures:
    from app.bench.events import follow_under_cuts
    from app.bench.processes import running_service
    from app.jobs.embedded import EmbeddedRedis
    from app.jobs.queue import JobQueue

    async def follow(url: str, redis_url: str) -> FollowFigures:
        queue = JobQueue.from_url(redis_url)
        try:
            return await follow_under_cuts(url, queue, load)
        finally:
            await queue.close()

    with tempfile.TemporaryDirectory(prefix="vlmir-bench-") as folder:
        redis = EmbeddedRedis(Path(folder))
        redis.start()
        try:
            with running_service(Path(folder), model, "cpu", redis_url=redis.url) as service:
                return asyncio.run(follow(service.url, redis.url))
        finally:
            redis.stop()


def _photo(side: int) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.radial_gradient("L").resize((side, side)).convert("RGB").save(target, "PNG")
    return target.getvalue()
