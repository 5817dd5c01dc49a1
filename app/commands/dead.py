"""`vlmir dead ls|show|retry|drop`: jobs that failed on every delivery, by whoever can reach the service's Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.commands.exits import stop_on_service_error
from app.commands.service_redis import redis_of
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.jobs.dead import DeadJob, DeadJobs
    from app.settings import Settings

app = typer.Typer(
    help="Jobs that failed on every delivery, of the service at VLMIR_REDIS_URL or else of the one on this machine.",
    no_args_is_help=True,
)

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document per line.")]
JobIds = Annotated[list[str] | None, typer.Argument(metavar="[JOB...]", help="Ids of dead jobs.")]
Every = Annotated[bool, typer.Option("--all", help="All dead jobs, or all that the other options leave.")]
Code = Annotated[str | None, typer.Option(help="Only those with this error code, such as worker_lost.")]
Tenant = Annotated[str | None, typer.Option(help="Only those of this tenant.")]

_JSON_FIELDS = ("options", "findings", "metadata")


@app.command("ls")
def list_dead(
    code: Code = None,
    tenant: Tenant = None,
    most: Annotated[int, typer.Option("--limit", "-n", min=0, help="Most jobs; 0 for all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List dead jobs, newest first."""

    async def collect(jobs: DeadJobs) -> list[DeadJob]:
        found: list[DeadJob] = []
        async for dead in jobs.all():
            if _is_wanted(dead, code, tenant):
                found.append(dead)
                if len(found) == most:
                    break
        return found

    found = _with_dead_jobs(collect)
    if not as_json:
        typer.echo(f"{'JOB':32s}  {'DIED':16s}  {'TRIES':>5s}  {'RETRY':5s}  {'TENANT':16s}  REASON")
    for dead in found:
        typer.echo(json.dumps(_document(dead)) if as_json else _line(dead))


@app.command()
def show(job: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]) -> None:
    """Show a dead job and its record as JSON."""
    dead = _with_dead_jobs(lambda jobs: jobs.get(job))
    record = {name: _parsed(text) if name in _JSON_FIELDS else text for name, text in sorted(dead.record.items())}
    typer.echo(json.dumps(_document(dead) | {"record": record}, indent=2))


def _parsed(text: str) -> Any:
    """Give what a field holds, or its text where that is damaged: such jobs are among the dead."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@app.command()
def retry(jobs: JobIds = None, every: Every = False, code: Code = None, tenant: Tenant = None) -> None:
    """Have dead jobs tried again, each with all its deliveries before it. Exit code 1 when one cannot be."""
    _for_each(jobs, every, code, tenant, lambda dead, job_id: dead.retry(job_id), "queued")


@app.command()
def drop(jobs: JobIds = None, every: Every = False, code: Code = None, tenant: Tenant = None) -> None:
    """Give dead jobs up: their photos are deleted now, their records after their time."""
    _for_each(jobs, every, code, tenant, lambda dead, job_id: dead.drop(job_id), "dropped")


def _for_each(
    named: list[str] | None,
    every: bool,
    code: str | None,
    tenant: str | None,
    act: Callable[[DeadJobs, str], Awaitable[None]],
    done: str,
) -> None:
    """Do something to each of the jobs that are meant, and say how that went."""
    from app.errors import QueueUnavailableError, ServiceError

    if bool(named) == every or ((code or tenant) and not every):
        raise typer.BadParameter("give the ids of jobs, or --all, with --code and --tenant to choose among them")

    async def is_refused(dead_jobs: DeadJobs, job_id: str) -> bool:
        try:
            await act(dead_jobs, job_id)
        except QueueUnavailableError:
            raise
        except ServiceError as error:  # of this one job: the others may do
            typer.echo(f"{job_id}  {error.code}: {error.detail}")
            return True
        typer.echo(f"{job_id}  {done}")
        return False

    async def act_on_all(dead_jobs: DeadJobs) -> bool:
        chosen = named or [dead.job_id async for dead in dead_jobs.all() if _is_wanted(dead, code, tenant)]
        return any([await is_refused(dead_jobs, job_id) for job_id in chosen])

    if _with_dead_jobs(act_on_all):
        raise typer.Exit(EXIT_FAILED)


def _with_dead_jobs(ask: Callable[[DeadJobs], Awaitable[Answer]]) -> Answer:
    from app.commands.roles import load_settings

    with stop_on_service_error():
        settings = load_settings()
        with redis_of(settings) as url:
            return asyncio.run(_ask(url, settings, ask))


async def _ask(url: str, settings: Settings, ask: Callable[[DeadJobs], Awaitable[Answer]]) -> Answer:
    from app.jobs.queue import JobQueue, QueuePolicy

    queue = JobQueue.from_url(url, settings.namespace, QueuePolicy.of(settings))
    try:
        return await ask(queue.dead)
    finally:
        await queue.close()


def _is_wanted(dead: DeadJob, code: str | None, tenant: str | None) -> bool:
    return code in (None, dead.code) and tenant in (None, dead.tenant)


def _document(dead: DeadJob) -> dict[str, object]:
    return {
        "id": dead.job_id,
        "tenant": dead.tenant,
        "died_at": _moment(dead.at_ms),
        "error": {"code": dead.code, "detail": dead.detail},
        "deliveries": dead.deliveries,
        "retryable": dead.is_retryable,
    }


def _line(dead: DeadJob) -> str:
    died = _moment(dead.at_ms)[:16].replace("T", " ")
    can = "yes" if dead.is_retryable else "no"
    return f"{dead.job_id}  {died:16s}  {dead.deliveries:5d}  {can:5s}  {dead.tenant:16s}  {dead.code}: {dead.detail}"


def _moment(utc_ms: int) -> str:
    return datetime.fromtimestamp(utc_ms / 1000, tz=timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
