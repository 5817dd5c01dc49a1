"""`vlmir restore`: photos in, photos out, with the model in this process or through a running service."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.errors import ServiceError
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    import rich.progress

Progress = Callable[[int, int], None]


class Quality(str, Enum):
    """How much time a restoration may take."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class Format(str, Enum):
    """Formats of a result."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    TIFF = "tiff"


SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".avif": "avif",
    ".tif": "tiff",
    ".tiff": "tiff",
}


@dataclass(frozen=True)
class Order:
    """What the caller wants of one photo; `model` is None when the model runs in this process."""

    quality: str
    steps: int | None
    seed: int
    caption: str | None
    format: str | None
    model: str | None
    mask: bytes | None
    start_within: float | None = None
    finish_within: float | None = None
    kinds: str | None = None


Backend = Callable[[bytes, Order, Progress], tuple[bytes, str]]
"""Restores one photo; gives its bytes and media type."""


def restore(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Photos to restore.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the restored photo goes.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option(help="Folder where the restored photos go, under their names.")
    ] = None,
    quality: Annotated[Quality, typer.Option(help="How much time it may take.")] = Quality.BALANCED,
    steps: Annotated[int | None, typer.Option(min=1, max=100, help="Denoising steps, instead of a quality.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same photo, options and seed: same result.")] = 0,
    caption: Annotated[str | None, typer.Option(help="What the photo shows [default: found out].")] = None,
    format: Annotated[Format | None, typer.Option(help="Format of the result [default: by -o, else as given].")] = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Use this running service.")] = None,
    api_key: ApiKeyOption = None,
    model: Annotated[str | None, typer.Option(help="Name of a model; without --server also a folder with one.")] = None,
    mask: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Image that is white where the photo is missing.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(help="What to repair, comma-separated, such as rain,noise; '' for nothing [default: found out]."),
    ] = None,
    start_within: Annotated[
        float | None, typer.Option(metavar="S", help="With --server: give up a photo not begun within S seconds.")
    ] = None,
    finish_within: Annotated[
        float | None, typer.Option(metavar="S", help="With --server: give up a photo not done within S seconds.")
    ] = None,
) -> None:
    """Restore photos. The model runs in this process unless --server names a running service."""
    _check_places(inputs, output, out_dir, mask)
    chosen = format.value if format is not None else SUFFIXES.get(output.suffix.lower()) if output else None
    if output is not None and chosen is None and output.suffix:
        known = ", ".join(SUFFIXES)
        raise typer.BadParameter(
            f"no format is known by {output.suffix!r}; use {known}, or give --format", param_hint="-o"
        )
    if server is None and (start_within is not None or finish_within is not None):
        raise typer.BadParameter(
            "times are kept by a service; name it with --server", param_hint="--start-within / --finish-within"
        )
    _check_kinds(kinds)
    holes = mask.read_bytes() if mask is not None else None
    order = Order(
        quality.value,
        steps,
        seed,
        caption,
        chosen,
        model if server is not None else None,
        holes,
        start_within,
        finish_within,
        kinds,
    )
    with stop_on_service_error():
        backend = _through_service(server, api_key) if server is not None else _in_process(model)
    failures = _restore_all(inputs, output, out_dir, order, backend)
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _check_places(inputs: list[Path], output: Path | None, out_dir: Path | None, mask: Path | None) -> None:
    if (output is None) == (out_dir is None):
        raise typer.BadParameter(
            "say where results go, by either -o FILE or --out-dir DIR", param_hint="-o / --out-dir"
        )
    if output is not None and len(inputs) > 1:
        raise typer.BadParameter(f"{len(inputs)} photos do not fit into one file; use --out-dir", param_hint="-o")
    if mask is not None and len(inputs) > 1:
        raise typer.BadParameter("a mask belongs to one photo", param_hint="--mask")
    stems = [path.stem for path in inputs]
    if out_dir is not None and len(set(stems)) < len(stems):
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise typer.BadParameter(f"several photos are called {', '.join(twice)}; restore them apart", param_hint="IN")


def _check_kinds(kinds: str | None) -> None:
    from app.jobs.job import parse_kinds

    try:
        parse_kinds(kinds.split(",") if kinds else ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kinds") from None


def _restore_all(inputs: list[Path], output: Path | None, out_dir: Path | None, order: Order, backend: Backend) -> int:
    import rich.progress
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    failures = 0
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for path in inputs:
            row = bar.add_task(path.name, total=None)
            try:
                if output is not None:
                    _refuse_overwrite(output, inputs)
                data, media_type = backend(path.read_bytes(), order, partial(_show, bar, row))
                target = output if output is not None else _name_in(out_dir or Path(), path, media_type)
                _refuse_overwrite(target, inputs)
                _write(target, data)
            except (ServiceError, OSError) as error:
                reason = error.detail if isinstance(error, ServiceError) else f"{error.strerror}: {error.filename}"
                console.print(f"{path}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
                failures += 1
            else:
                console.print(f"{path} -> {target}", markup=False, highlight=False, soft_wrap=True)
            bar.remove_task(row)
    return failures


def _show(bar: rich.progress.Progress, row: rich.progress.TaskID, done: int, total: int) -> None:
    bar.update(row, completed=done, total=total)


def _name_in(folder: Path, source: Path, media_type: str) -> Path:
    from app.images import FORMATS

    extension = next((form.extension for form in FORMATS.values() if form.media_type == media_type), "png")
    keeps_suffix = SUFFIXES.get(source.suffix.lower()) == SUFFIXES.get(f".{extension}")
    return folder / (source.name if keeps_suffix else f"{source.stem}.{extension}")


def _refuse_overwrite(target: Path, inputs: list[Path]) -> None:
    if any(target.exists() and path.exists() and target.samefile(path) for path in inputs):
        raise FileExistsError(
            17, "this would overwrite a photo that is to be restored; choose another place", str(target)
        )


def _write(target: Path, data: bytes) -> None:
    """Write a file so that it is there in full or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # temporary files are private, results need not be
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _in_process(model: str | None) -> Backend:
    from app.commands.roles import load_settings
    from app.jobs.job import RestoreOptions, parse_kinds
    from app.worker.__main__ import make_runner
    from app.worker.local import restore_locally

    runner = make_runner(load_settings(), model)
    runner.load()

    def run(image: bytes, order: Order, on_progress: Progress) -> tuple[bytes, str]:
        kinds = None if order.kinds is None else parse_kinds(order.kinds.split(",") if order.kinds else ())
        options = RestoreOptions(order.quality, order.steps, order.seed, order.caption, order.format, kinds=kinds)
        result = restore_locally(runner, image, options, order.mask, on_progress)
        return result.data, result.media_type

    return run


def _through_service(url: str, api_key: str | None) -> Backend:
    from app.client import RemoteJob, VlmirClient

    def run(image: bytes, order: Order, on_progress: Progress) -> tuple[bytes, str]:
        media_types: list[str] = []

        def note(job: RemoteJob) -> None:
            on_progress(job.step, job.steps_total or 1)
            if job.result_media_type is not None:
                media_types.append(job.result_media_type)

        with VlmirClient(url, api_key=api_key) as client:
            options = {name: value for name, value in asdict(order).items() if name != "mask"}
            data = client.restore(image, mask=order.mask, on_progress=note, **options)
        return data, media_types[-1]

    return run
