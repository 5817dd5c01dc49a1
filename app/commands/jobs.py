"""`vlmir jobs ls|get|watch|cancel|purge`: the jobs of a running service."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.client import Event, RemoteJob

app = typer.Typer(help="Look at, follow, cancel and delete the jobs of a running service.", no_args_is_help=True)

Server = Annotated[str, typer.Option(help="Address of the service.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document per line, as the service gives it.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
LOCAL = "http://127.0.0.1:8000"


@app.command("ls")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state; repeat it for several.")] = None,
    priority: Annotated[str | None, typer.Option(help="Only interactive or batch jobs.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only jobs accepted at this time (UTC) or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only jobs accepted before this time (UTC).")] = None,
    most: Annotated[int, typer.Option("--limit", "-n", min=0, help="Most jobs; 0 for all.")] = 20,
    server: Server = LOCAL,
    api_key: ApiKeyOption = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from app.client import VlmirClient
    from app.jobs.job import JobState

    try:
        states = [JobState(name) for name in state or ()]
    except ValueError:
        names = ", ".join(known.value for known in JobState)
        raise typer.BadParameter(f"got {state}, expected some of {names}", param_hint="--state") from None
    with stop_on_service_error(), VlmirClient(server, api_key=api_key) as client:
        jobs = client.jobs(
            states=states,
            priority=priority,
            model=model,
            created_since=_in_utc(since),
            created_until=_in_utc(until),
            limit=min(most, 200) or 200,
        )
        if not as_json:
            typer.echo(f"{'JOB':32s}  {'STATE':9s}  {'DONE':>7s}  {'CREATED':20s}  {'MODEL':10s}  PHOTO")
        for number, job in enumerate(jobs, start=1):
            typer.echo(json.dumps(job.document) if as_json else _line(job))
            if number == most:
                break


@app.command()
def get(job: JobId, server: Server = LOCAL, api_key: ApiKeyOption = None) -> None:
    """Show a job as JSON."""
    from app.client import VlmirClient

    with stop_on_service_error(), VlmirClient(server, api_key=api_key) as client:
        typer.echo(json.dumps(client.job(job).document, indent=2))


@app.command()
def cancel(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of the jobs.")],
    server: Server = LOCAL,
    api_key: ApiKeyOption = None,
) -> None:
    """Cancel jobs: one that waits at once, one that runs after the step it is in."""
    from app.client import VlmirClient

    with stop_on_service_error(), VlmirClient(server, api_key=api_key) as client:
        for job_id in jobs:
            job = client.cancel(job_id)
            asked = job.document.get("cancel_requested") and not job.state.is_terminal
            typer.echo(f"{job.id}  {job.state.value}{', will stop' if asked else ''}")


@app.command()
def purge(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of the jobs.")],
    server: Server = LOCAL,
    api_key: ApiKeyOption = None,
) -> None:
    """Delete all that is kept of jobs now: photo, result, record, events. One that has not ended is canceled.

    Exit code 1 when a job was not there; the others are deleted all the same.
    """
    from app.client import VlmirClient

    is_any_missing = False
    with stop_on_service_error(), VlmirClient(server, api_key=api_key) as client:
        for job_id in jobs:
            is_deleted = client.purge(job_id)
            is_any_missing |= not is_deleted
            typer.echo(f"{job_id}  {'deleted' if is_deleted else 'not found'}")
    if is_any_missing:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def watch(
    job: JobId,
    after: Annotated[str | None, typer.Option(help="Only what came after this event.")] = None,
    server: Server = LOCAL,
    api_key: ApiKeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job until it ends. Exit code 1 when it did not succeed."""
    from app.client import VlmirClient
    from app.jobs.job import JobState

    last: JobState | None = None
    with stop_on_service_error(), VlmirClient(server, api_key=api_key) as client:
        for event in client.events(job, after=after):
            if as_json:
                typer.echo(json.dumps({"id": event.id, "event": event.type, "data": event.data}))
            else:
                typer.echo(_said(event))
            sys.stdout.flush()  # whoever reads through a pipe follows too
            last = event.state or last
        if last is None or not last.is_terminal:  # the end was known before
            last = client.job(job).state
    if last not in (JobState.SUCCEEDED, JobState.EXPIRED):
        raise typer.Exit(EXIT_FAILED)


def _line(job: RemoteJob) -> str:
    photo = job.document["input"]
    steps = "" if job.steps_total is None else f"{job.step}/{job.steps_total}"
    done = f"#{job.position}" if job.position is not None else steps
    created = job.document["timings"]["created_at"][:19].replace("T", " ")
    size = f"{photo['width']} x {photo['height']} {photo['media_type']}"
    return f"{job.id}  {job.state.value:9s}  {done:>7s}  {created:20s}  {job.model or '-':10s}  {size}"


def _said(event: Event) -> str:
    data = event.data
    moment = str(data.get("at", ""))[11:19]
    if event.type == "progress":
        return f"{moment}  step {data['step']} of {data['steps_total']}"
    if event.type != "state":
        return f"{moment}  {event.type}"
    job = event.job
    more = ""
    if data.get("cancel_requested"):
        more = ", asked to stop"
    elif job is not None and job.error_code is not None:
        more = f" ({job.error_code}: {job.error_detail})"
    elif data["state"] == "running" and data.get("attempt", 1) > 1:
        more = f", attempt {data['attempt']}"
    return f"{moment}  {data['state']}{more}"


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=timezone.utc)
