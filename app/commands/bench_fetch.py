"""`vlmir bench ssrf`: URLs by which a caller may try to reach the network behind the service."""

from __future__ import annotations

import asyncio

import typer

from app.commands.bench_options import Json, show_goal, write_figures
from app.exit_codes import EXIT_FAILED


def ssrf(json_out: Json = None) -> None:
    """Forbidden URLs of photos and of webhooks, with real servers on loopback: all must be refused."""
    from app.bench.ssrf import try_all

    verdicts = [*asyncio.run(try_all()), *asyncio.run(try_all(way="webhook"))]
    typer.echo(f"{'way':8} {'attempt':36} {'answer':18} why")
    for verdict in verdicts:
        mark = "" if verdict.is_refused else f"  <- NOT REFUSED, the server was reached {verdict.reached} times"
        typer.echo(f"{verdict.way:8} {verdict.attempt.name:36} {verdict.code:18} {verdict.reason}{mark}")
    passed = [verdict for verdict in verdicts if not verdict.is_refused]
    typer.echo(f"{len(verdicts)} attempts")
    show_goal("not refused", len(passed), "0")
    rows = [
        {
            "way": item.way,
            "attempt": item.attempt.name,
            "url": item.attempt.url,
            "code": item.code,
            "reached": item.reached,
        }
        for item in verdicts
    ]
    write_figures(json_out, {"ssrf": rows})
    if passed:
        raise typer.Exit(EXIT_FAILED)
