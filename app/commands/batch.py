"""`vlmir batch`: a folder of photos into another, with a report; what is done is not done again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.commands.photo_options import (
    Format,
    KindsOption,
    ModelOption,
    Order,
    PhotoMetadataOption,
    Quality,
    QualityFactorOption,
    QualityOption,
    SeedOption,
    ServerOption,
    StepsOption,
    check_kinds,
)
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.commands.batch_plan import Entry, Plan
    from app.commands.batch_report import Report, Row
    from app.commands.batch_work import Listener

REPORT = "report.csv"
PATIENT_ATTEMPTS = 10
LONGEST_PAUSE_S = 30.0
LONGEST_WAIT_S = 600.0
"""That a service may ask for with Retry-After, as one does whose queue is full."""


def batch(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="With the photos, also in folders.")
    ],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder where results go, under their paths.")],
    quality: QualityOption = Quality.BALANCED,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    format: Annotated[Format | None, typer.Option(help="Format of the results [default: that of each photo].")] = None,
    kinds: KindsOption = None,
    photo_metadata: PhotoMetadataOption = None,
    quality_factor: QualityFactorOption = None,
    server: ServerOption = None,
    api_key: ApiKeyOption = None,
    model: ModelOption = None,
    at_once: Annotated[
        int, typer.Option(min=1, max=64, help="With --server: photos that are handed in at a time.")
    ] = 4,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help=f"CSV file with a row per photo [default: {REPORT} in --out].")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Restore also what has a result, as after a change of options.")
    ] = False,
) -> None:
    """Restore a folder of photos. Call it again to go on where it ended: what has a result is not done again."""
    from app.commands.batch_plan import make_plan
    from app.commands.batch_report import Report, ReportError

    check_kinds(kinds)
    if out.resolve() == folder.resolve():
        raise typer.BadParameter("results would be written over their photos; name another folder", param_hint="--out")
    order = Order(
        quality.value,
        steps,
        seed,
        None,
        None if format is None else format.value,
        model if server is not None else None,
        kinds,
        None if photo_metadata is None else photo_metadata.value,
        quality_factor,
    )
    with _stop_on_trouble():
        try:
            rows = Report(report or out / REPORT)
        except (ReportError, UnicodeError) as error:
            raise typer.BadParameter(f"{error}; name another file", param_hint="--report") from None
        plan = make_plan(folder, out, order.format)
        if not plan.entries:
            raise typer.BadParameter(f"{folder} has no photos among {plan.others} file(s)", param_hint="FOLDER")
        left = _note_what_is_known(plan, rows, again=again)
        try:
            if left:
                with _shown(len(plan.entries), len(plan.entries) - len(left), rows) as listener:
                    _restore(left, order, model, server, api_key, at_once, listener)
        finally:
            rows.end()
            failed = _summarize(plan, rows, left)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _stop_on_trouble() -> Iterator[None]:
    """End the program with a sentence on what concerns all photos."""
    try:
        with stop_on_service_error():
            yield
    except OSError as error:
        typer.echo(f"vlmir: {error.filename or 'a file'}: {error.strerror}. Call this again to go on.", err=True)
        raise typer.Exit(EXIT_FAILED) from None


def _note_what_is_known(plan: Plan, rows: Report, *, again: bool) -> list[Entry]:
    """Write down what needs no work, and give what is left to do."""
    from app.commands.batch_report import PRESENT, Row
    from app.jobs.job import JobState

    left = []
    known = (PRESENT, JobState.SUCCEEDED.value)
    for entry in plan.entries:
        if entry.error is not None:
            typer.echo(f"{_shown_name(entry.name)}: {entry.error}", err=True)
            rows.rows[entry.name] = Row(entry.name, JobState.FAILED.value, error=entry.error)
        elif again or not entry.is_done:
            rows.rows.pop(entry.name, None)  # an old row would tell of another result
            left.append(entry)
        elif entry.name not in rows.rows or rows.rows[entry.name].state not in known:
            rows.rows[entry.name] = Row(entry.name, PRESENT)
    rows.begin()
    return left


def _restore(
    left: list[Entry],
    order: Order,
    model: str | None,
    server: str | None,
    api_key: str | None,
    at_once: int,
    listener: Listener,
) -> None:
    from app.commands.batch_work import restore_here, restore_there

    if server is None:
        from app.commands.roles import load_settings
        from app.worker.__main__ import make_runner

        runner = make_runner(load_settings(), model)
        runner.load()
        restore_here(runner, left, order, listener)
        return
    from app.client import AsyncVlmirClient, Retries

    async def run(url: str) -> None:
        async with AsyncVlmirClient(url, api_key=api_key, retries=Retries(attempts=1)) as client:
            await client.models()  # a wrong address or key shows at once
        patience = Retries(attempts=PATIENT_ATTEMPTS, longest_s=LONGEST_PAUSE_S, longest_wait_s=LONGEST_WAIT_S)
        async with AsyncVlmirClient(url, api_key=api_key, retries=patience) as client:
            await restore_there(client, left, order, at_once, listener)

    asyncio.run(run(server))


@contextmanager
def _shown(total: int, done: int, rows: Report) -> Iterator[Listener]:
    """Show a bar for as long as the block lasts, a line per failure, and write rows down as they come."""
    import rich.progress
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from app.commands.batch_work import Listener

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    parts: dict[str, float] = {}
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos", total=total, completed=done)
        ended = done

        def progress(name: str, part: float) -> None:
            parts[name] = part
            bar.update(task, completed=ended + sum(parts.values()))

        def end(row: Row) -> None:
            nonlocal ended
            ended += 1
            parts.pop(row.file, None)
            rows.add(row)
            bar.update(task, completed=ended + sum(parts.values()))
            if row.error:
                words = f"{_shown_name(row.file)}: {row.error}"
                console.print(words, style="red", markup=False, highlight=False, soft_wrap=True)

        yield Listener(progress, end)


def _shown_name(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # names of files may be no text


def _summarize(plan: Plan, rows: Report, left: list[Entry]) -> int:
    """Print what became of the photos; gives the number of those that have no result."""
    tried = {entry.name for entry in left}
    states = Counter(rows.rows[name].state for name in tried if name in rows.rows)
    restored = states["succeeded"]
    failed = sum(states.values()) - restored + sum(entry.error is not None for entry in plan.entries)
    present = len(plan.entries) - len(left) - sum(entry.error is not None for entry in plan.entries)
    words = [f"{restored} restored"]
    words += [f"{present} had a result"] if present else []
    words += [f"{failed} failed"] if failed else []
    words += [f"{len(tried) - sum(states.values())} not done"] if len(tried) > sum(states.values()) else []
    words += [f"{plan.others} other file(s) passed over"] if plan.others else []
    typer.echo(f"{', '.join(words)}; report: {rows.path}")
    return failed
