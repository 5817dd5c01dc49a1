"""Photos and captions of a data folder, held in memory as uint8, and random crops of them.

A data folder holds images (any depth) and, where captions are known, a `captions.tsv` beside them: file, tab, caption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from model.errors import ModelError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Photo:
    """One training photo.

    Attributes:
        path: Where it came from.
        pixels: (H, W, 3) uint8 RGB.
        captions: Human captions, possibly none.
    """

    path: Path
    pixels: np.ndarray
    captions: tuple[str, ...]


def read_captions(folder: Path) -> dict[str, tuple[str, ...]]:
    """Captions of a folder's `captions.tsv` by file name; empty when there is no such file.

    Raises:
        ModelError: A line without a tab.
    """
    path = folder / "captions.tsv"
    found: dict[str, list[str]] = {}
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            name, tab, caption = line.partition("\t")
            if not tab:
                raise ModelError(f"{path}:{number}: got {line[:60]!r}, expected 'file<tab>caption'")
            found.setdefault(name, []).append(caption.strip())
    return {name: tuple(captions) for name, captions in found.items()}


def find_photos(folders: Iterable[Path]) -> list[Path]:
    """All image files below the folders, sorted, so that every run sees the same order.

    Raises:
        ModelError: A folder is missing or holds no image.
    """
    paths: list[Path] = []
    for folder in folders:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        if not found:
            raise ModelError(
                f"{folder}: no images found ({', '.join(sorted(SUFFIXES))}); give --data a folder of photos"
            )
        paths += found
    return paths


def load_photos(
    folders: Sequence[Path],
    *,
    min_side: int = 1,
    exclude: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
) -> list[Photo]:
    """Decode all photos below the folders into memory, in parallel.

    Args:
        folders: Data folders.
        min_side: Photos with a shorter side are enlarged to it (bicubic).
        exclude: File names to leave out (held-out sets).
        only: File names to keep; None keeps all.
    """
    paths = [path for path in find_photos(folders) if path.name not in exclude and (only is None or path.name in only)]
    captions = {folder: read_captions(folder) for folder in {path.parent for path in paths}}

    def load(path: Path) -> Photo:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        short = min(upright.size)
        if short < min_side:
            scale = min_side / short
            upright = upright.resize(
                (max(min_side, round(upright.width * scale)), max(min_side, round(upright.height * scale)))
            )
        return Photo(path, np.array(upright), captions[path.parent].get(path.name, ()))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, paths))


def crop_photo(
    photo: Photo, size: int, generator: torch.Generator, *, max_shrink: float = 1.0, rotate: bool = False
) -> torch.Tensor:
    """A random square crop (3, size, size) uint8, shrunk by up to `max_shrink`, mirrored at random.

    Shrinking a JPEG source a little keeps its own compression from becoming the target.

    Args:
        photo: Source; must be at least `size` on both sides.
        size: Side of the crop, px.
        generator: CPU generator that draws everything.
        max_shrink: The source window is up to this many times larger than `size`.
        rotate: Also turn by a multiple of 90 degrees (no meaning is attached to up and down).
    """
    height, width = photo.pixels.shape[:2]
    if min(height, width) < size:
        raise ModelError(
            f"{photo.path}: got {width} x {height} px, expected at least {size} on both sides; leave it out"
        )
    draws = torch.rand(4, generator=generator).tolist()
    window = int(size * (1 + draws[0] * (max_shrink - 1)))
    window = max(size, min(window, height, width))
    top, left = int(draws[1] * (height - window + 1)), int(draws[2] * (width - window + 1))
    pixels = photo.pixels[top : top + window, left : left + window]
    if window != size:
        pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))
    crop = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
    if draws[3] < 0.5:
        crop = crop.flip(2)
    if rotate:
        crop = crop.rot90(int(torch.randint(4, (1,), generator=generator)), (1, 2))
    return crop
