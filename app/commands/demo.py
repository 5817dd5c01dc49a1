"""`vlmir demo`: damage a public-domain photo, restore it through a running service, show both beside the original."""

from __future__ import annotations

import contextlib
import io
import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.access_option import ApiKeyOption
from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAMAGE = (("noise", 0.45),)
READY_S = 180.0
LABEL_PX = 28


def demo(
    out_dir: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("demo"),
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this running service [default: start one].")
    ] = None,
    api_key: ApiKeyOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model: of the service that is started, or one of --server's.")
    ] = None,
    quality: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    seed: Annotated[int, typer.Option(min=0, help="Seed of damage and restoration.")] = 1,
) -> None:
    """Show what a restoration does to a noisy photo."""
    from app.client import VlmirClient

    original = _sample_photo()
    damaged = _damage(original, seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop_on_service_error())
        url = server if server is not None else stack.enter_context(_own_service(model))
        with VlmirClient(url, api_key=api_key if server is not None else None) as client:
            named = model if server is not None else None  # a service of our own has no other
            restored = _read(client.restore(_png(damaged), quality=quality, seed=seed, format="png", model=named))
    for name, picture in (("before", damaged), ("after", restored), ("original", original)):
        (out_dir / f"{name}.png").write_bytes(_png(picture))
    before_db, after_db = _psnr(damaged, original), _psnr(restored, original)
    titles = (f"before: {before_db:.2f} dB", f"after: {after_db:.2f} dB", "original")
    sheet = out_dir / "before-after-original.png"
    sheet.write_bytes(_side_by_side((damaged, restored, original), titles))
    typer.echo(f"PSNR before {before_db:.2f} dB, after {after_db:.2f} dB, gain {after_db - before_db:+.2f} dB")
    typer.echo(f"{sheet}")


def _sample_photo() -> NDArray[np.uint8]:
    try:
        from skimage.data import astronaut
    except ModuleNotFoundError:
        typer.echo("the demo's photo comes with scikit-image; install it: pip install 'vlmir[train]'", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    photo: NDArray[np.uint8] = astronaut()  # by NASA, public domain
    return photo


def _damage(photo: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    import torch

    from app.worker.pixels import to_array, to_tensor
    from model.degradation.synthesis import degrade

    image = to_tensor(photo)
    generator = torch.Generator().manual_seed(seed)
    for kind, severity in DAMAGE:
        image = degrade(image.clamp(0, 1), kind, severity, generator=generator).image
    damaged: NDArray[Any] = to_array(image, photo.dtype)
    return damaged


@contextlib.contextmanager
def _own_service(model: str | None) -> Iterator[str]:
    """Start a service on a free port with a state folder of its own; gives its address once it is ready."""
    with tempfile.TemporaryDirectory(prefix="vlmir-demo-") as state_dir:
        command = [sys.executable, "-m", "app.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--state-dir", state_dir, *(["--model", model] if model is not None else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  our own command line
        # A service that hangs while starting is stopped, which ends the reading below.
        watchdog = threading.Timer(READY_S, process.terminate)
        watchdog.start()
        try:
            address = _read_address(process)
            watchdog.cancel()
            yield address
        finally:
            watchdog.cancel()
            process.terminate()
            process.wait()


def _read_address(process: subprocess.Popen[str]) -> str:
    from app.commands.supervisor import READY_LINE

    for line in process.stdout or ():
        if line.startswith(READY_LINE):
            return line.removeprefix(READY_LINE).strip()
    typer.echo("the service did not start; its messages above say why", err=True)
    raise typer.Exit(EXIT_FAILED)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def _read(data: bytes) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _psnr(picture: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    import numpy as np

    error = float(np.mean((picture.astype(np.float64) - original) ** 2))
    return 10 * math.log10(255**2 / max(error, 1e-12))


def _side_by_side(pictures: tuple[NDArray[np.uint8], ...], titles: tuple[str, ...]) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    height, width = pictures[0].shape[:2]
    sheet = Image.new("RGB", (width * len(pictures), height + LABEL_PX), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=LABEL_PX * 0.6)
    for column, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        sheet.paste(Image.fromarray(picture), (column * width, LABEL_PX))
        draw.text((column * width + 8, LABEL_PX * 0.15), title, fill="black", font=font)
    target = io.BytesIO()
    sheet.save(target, "PNG")
    return target.getvalue()
