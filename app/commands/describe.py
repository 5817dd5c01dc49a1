"""`vlmir analyze` and `vlmir models`: what a photo suffers from, and which models there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

MIB = 1024 * 1024


def analyze(
    photo: Annotated[Path, typer.Argument(metavar="IN", exists=True, dir_okay=False, help="Photo to look at.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    caption: Annotated[str | None, typer.Option(help="What the photo shows [default: found out].")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model, or (without --server) a folder with one.")] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Have this running service look at it; it knows how long it takes."),
    ] = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Describe a photo, name its damage and say what restoring it would take, without doing it."""
    with stop_on_service_error():
        data = photo.read_bytes()
        if server is None:
            report = _analyze_here(data, caption, model)
        else:
            from app.client import VlmirClient

            with VlmirClient(server, api_key=api_key) as client:
                report = dict(client.analyze(data, caption=caption, model=model).document)
    report = {"file": str(photo), **report}
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show_analysis(report)


def _analyze_here(data: bytes, caption: str | None, model: str | None) -> dict[str, Any]:
    from app.commands.roles import load_settings
    from app.jobs.job import RestoreOptions
    from app.worker.__main__ import make_runner
    from app.worker.analysis import complete

    runner = make_runner(load_settings(), model)
    runner.load()
    return complete(runner.analyze("local", runner.decode(data, None), RestoreOptions(caption=caption)))


def _show_analysis(report: dict[str, Any]) -> None:
    typer.echo(f"{report['file']}: {report['width']} x {report['height']} pixels")
    caption = report["caption"]
    typer.echo(f"caption: {caption if caption is not None else 'none, the model writes no captions'}")
    typer.echo(f"{'kind':<12}{'probability':>12}{'severity':>10}")
    for item in sorted(report["degradations"], key=lambda item: -item["probability"]):
        typer.echo(f"{item['kind']:<12}{item['probability']:>12.2f}{item['severity']:>10.2f}")
    scores, suggestion, seconds = report["scores"], report["suggestion"], report["estimated_s"]
    typer.echo(f"blur {scores['blur']:.2f} (0 sharp, 1 blurred), noise {scores['noise']:.1f} of 255")
    takes = "" if seconds is None else f", about {seconds:.1f} s"
    what = f"quality {suggestion['quality']}, {suggestion['steps']} step(s){takes}"
    typer.echo(f"suggestion: {what}" if suggestion["restore"] else f"suggestion: leave it as it is (else {what})")


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    server: Annotated[str | None, typer.Option(metavar="URL", help="List those of this running service.")] = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List the models that are known by name, and those of VLMIR_MODELS."""
    with stop_on_service_error():
        rows = _local_models() if server is None else _remote_models(server, api_key)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if server is not None:
        for row in rows:
            typer.echo(row["name"] + (" (default)" if row["default"] else ""))
        return
    typer.echo(f"{'name':<16}{'parameters':>12}  {'weights':<12}description")
    for row in rows:
        parameters = f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] is not None else "-"
        mark = " (default)" if row["default"] else " (served)" if row["served"] else ""
        typer.echo(f"{row['name']:<16}{parameters:>12}  {row['weights']:<12}{row['description']}{mark}")


def _remote_models(server: str, api_key: str | None) -> list[dict[str, Any]]:
    from app.client import VlmirClient

    with VlmirClient(server, api_key=api_key) as client:
        return [{"name": name, "default": index == 0} for index, name in enumerate(client.models())]


def _local_models() -> list[dict[str, Any]]:
    """Tell about the models with a configuration here and those of the settings, in that order."""
    from app.commands.roles import load_settings
    from model.config import CONFIG_DIR, list_configs

    weights = CONFIG_DIR.parent / "weights"
    folders = {name: weights / name for name in list_configs()}
    served = load_settings().served_models
    folders |= {item.name: Path(item.place) if Path(item.place).is_dir() else weights / item.place for item in served}
    names = [item.name for item in served]
    return [
        {**_describe_model(name, folder), "default": name == names[0], "served": name in names}
        for name, folder in folders.items()
    ]


def _describe_model(name: str, folder: Path) -> dict[str, Any]:
    """Tell about a model by its files alone: importing torch would take longer than all the rest."""
    from model.config import load_config
    from model.errors import ConfigError

    files = sorted(folder.glob("*.safetensors"))
    absent = "random" if folder.name == "tiny" else "none"
    try:
        description = load_config(folder / "config.json" if files else folder.name).description
    except ConfigError as error:
        description = str(error)
    return {
        "name": name,
        "description": description,
        "parameters": sum(_count_parameters(file) for file in files) if files else None,
        "weights": f"{sum(file.stat().st_size for file in files) / MIB:.1f} MiB" if files else absent,
    }


def _count_parameters(file: Path) -> int:
    """Count the numbers in a safetensors file by its header alone."""
    import math

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        typer.echo(f"{file}: not readable ({error})", err=True)
        raise typer.Exit(EXIT_FAILED) from None
