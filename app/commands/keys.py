"""`vlmir keys create|ls|revoke|limit`: API keys and tenants' limits, by whoever can reach the service's Redis."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.access.keys import DEFAULT_SCOPES, DEFAULT_TENANT, SCOPES, ApiKey, check_name, check_tenant, parse_scopes
from app.commands.exits import stop_on_service_error
from app.commands.service_redis import redis_of
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from app.access.keyring import Keyring
    from app.access.limiter import Limiter
    from app.settings import Settings

app = typer.Typer(
    help="API keys and limits of tenants, of the service at VLMIR_REDIS_URL or else of the one on this machine.",
    no_args_is_help=True,
)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LIFETIME = re.compile(r"([1-9][0-9]{0,5})([smhdw])")

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document per line.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it, such as the program that gets it.")],
    tenant: Annotated[str, typer.Option(help="Whose jobs it sees and makes.")] = DEFAULT_TENANT,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it allows: {', '.join(SCOPES)}; repeat it [default: {', '.join(DEFAULT_SCOPES)}]."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it is valid: 90d, 12h, 30m [default: until revoked].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once: only its digest is kept."""
    try:
        scopes = parse_scopes(scope or DEFAULT_SCOPES)
        name, tenant, lifetime_s = check_name(name), check_tenant(tenant), _parse_lifetime(expires)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    key, token = _with_keyring(lambda keyring: keyring.create(name, tenant, scopes, lifetime_s))
    if as_json:
        typer.echo(json.dumps(_document(key) | {"key": token}))
        return
    typer.echo(f"Key {key.id} for tenant {key.tenant}. It is shown this once:", err=True)
    typer.echo(token)


@app.command("ls")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys, oldest first, revoked ones too."""
    keys = _with_keyring(lambda keyring: keyring.all())
    if not as_json:
        typer.echo(f"{'KEY':10s}  {'TENANT':16s}  {'CREATED':16s}  {'LAST USED':16s}  {'VALID':22s}  SCOPES  NAME")
    for key in keys:
        typer.echo(json.dumps(_document(key)) if as_json else _line(key))


@app.command()
def revoke(keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Ids of keys, as `ls` shows.")]) -> None:
    """Make keys invalid for good, within seconds."""
    for key_id in keys:

        def revoke_one(keyring: Keyring, key_id: str = key_id) -> Awaitable[ApiKey | None]:
            return keyring.revoke(key_id)

        if _with_keyring(revoke_one) is None:
            typer.echo(f"vlmir: there is no key {key_id!r}; `vlmir keys ls` shows those there are", err=True)
            raise typer.Exit(EXIT_FAILED)
        typer.echo(f"{key_id}  revoked")


@app.command()
def limit(
    tenant: Annotated[str, typer.Argument(help="Whose limits.")],
    rate: Annotated[float | None, typer.Option(min=0, help="POST requests per second in the long run.")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="POST requests at once.")] = None,
    jobs: Annotated[int | None, typer.Option("--daily-jobs", min=0, help="Jobs per day (UTC).")] = None,
    megapixels: Annotated[float | None, typer.Option("--daily-megapixels", min=0, help="Megapixels per day.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Use the default limits (VLMIR_RATE_PER_S etc.).")] = False,
) -> None:
    """Show a tenant's limits, or give it some of its own; 0 is no limit. Known everywhere within seconds."""
    from app.access.limits import Limits

    try:
        check_tenant(tenant)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    wanted = {"rate_per_s": rate, "burst": burst, "daily_jobs": jobs, "daily_megapixels": megapixels}
    given = {name: value for name, value in wanted.items() if value is not None}
    if reset and given:
        raise typer.BadParameter("it gives the default limits; leave the others out", param_hint="--reset")

    async def change(parts: _Parts) -> tuple[Limits, bool]:
        if given:
            now = asdict(await parts.limiter.limits_of(tenant))
            await parts.limiter.set_limits(tenant, Limits(**{**now, **given}))
        elif reset:
            await parts.limiter.set_limits(tenant, None)
        return await parts.limiter.limits_of(tenant), tenant in await parts.limiter.own_limits()

    limits, is_own = _with_parts(change)
    words = {
        "POST requests per second": limits.rate_per_s,
        "at once": limits.burst if limits.rate_per_s else 0,
        "jobs per day": limits.daily_jobs,
        "megapixels per day": limits.daily_megapixels,
    }
    shown = ", ".join(f"{f'{value:g}' if value else 'any number of'} {word}" for word, value in words.items())
    typer.echo(f"{tenant} ({'its own' if is_own else 'default'}): {shown}")


def _parse_lifetime(text: str | None) -> float | None:
    if text is None:
        return None
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise ValueError(f"got --expires {text!r}; expected a number and s, m, h, d or w, such as 90d")
    return float(int(match[1]) * _SECONDS[match[2]])


@dataclass(frozen=True)
class _Parts:
    keyring: Keyring
    limiter: Limiter


def _with_keyring(ask: Callable[[Keyring], Awaitable[Answer]]) -> Answer:
    return _with_parts(lambda parts: ask(parts.keyring))


def _with_parts(ask: Callable[[_Parts], Awaitable[Answer]]) -> Answer:
    from app.commands.roles import load_settings

    with stop_on_service_error():
        settings = load_settings()
        with redis_of(settings) as url:
            return asyncio.run(_ask(url, settings, ask))


async def _ask(url: str, settings: Settings, ask: Callable[[_Parts], Awaitable[Answer]]) -> Answer:
    from app.access.keyring import Keyring
    from app.access.limiter import Limiter
    from app.access.limits import Limits
    from app.jobs.connection import connect
    from app.jobs.keys import Keys

    redis, keys = connect(url), Keys(settings.namespace)
    try:
        return await ask(_Parts(Keyring(redis, keys), Limiter(redis, keys, Limits.of(settings))))
    finally:
        await redis.aclose()


def _document(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "created_at": _moment(key.created_ms),
        "expires_at": _moment(key.expires_ms),
        "revoked_at": _moment(key.revoked_ms),
        "last_used_at": _moment(key.last_used_ms),
    }


def _line(key: ApiKey) -> str:
    created, used = _short(key.created_ms), _short(key.last_used_ms)
    valid = f"until {_short(key.expires_ms)}" if key.expires_ms is not None else "until revoked"
    if key.revoked_ms is not None:
        valid = "revoked"
    elif key.flaw_at(int(datetime.now(tz=timezone.utc).timestamp() * 1000)) is not None:
        valid = "expired"
    scopes = ",".join(sorted(key.scopes))
    return f"{key.id}  {key.tenant:16s}  {created:16s}  {used:16s}  {valid:22s}  {scopes}  {key.name}"


def _moment(utc_ms: int | None) -> str | None:
    if utc_ms is None:
        return None
    return datetime.fromtimestamp(utc_ms / 1000, tz=timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _short(utc_ms: int | None) -> str:
    return (_moment(utc_ms) or "-").replace("T", " ")[:16]
