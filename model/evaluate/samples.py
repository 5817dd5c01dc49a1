"""Photos to measure on: clean ones that a case damages, and really damaged ones with or without a reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from model.errors import ModelError
from model.evaluate.cases import Case

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
_REAL, _MEAN = "_real", "_mean"
# What a folder's name says about the damage; the first word found counts ("raindrop" before "rain").
_WORDS = {
    "lowlight": "low-light",
    "dark": "low-light",
    "noise": "noise",
    "haze": "haze",
    "fog": "haze",
    "raindrop": "raindrop",
    "rain": "rain",
    "snow": "snow",
    "shadow": "shadow",
    "blur": "blur",
    "jpeg": "jpeg",
}


@dataclass(frozen=True)
class Sample:
    """One photo of a case.

    Attributes:
        damaged: (1, 3, H, W); noise may leave [0, 1].
        clean: The same without damage; None where nobody knows.
        mask: (1, 1, H, W), 1 = missing.
        seed: Of the model's start noise.
        name: Of its file, without suffix.
    """

    damaged: torch.Tensor
    clean: torch.Tensor | None
    mask: torch.Tensor | None
    seed: int
    name: str = ""


@dataclass(frozen=True)
class RealSet:
    """A folder of really damaged photos.

    Attributes:
        name: Of the folder.
        kinds: What the folder's name says about the damage, possibly nothing.
        pairs: (damaged, clean or None); all or none of a set have a clean one.
    """

    name: str
    kinds: tuple[str, ...]
    pairs: tuple[tuple[Path, Path | None], ...]

    @property
    def has_references(self) -> bool:
        """Whether clean versions are known."""
        return self.pairs[0][1] is not None


def read_photo(path: Path) -> torch.Tensor:
    """A photo, turned upright, as (1, 3, H, W) float32 RGB in [0, 1].

    Raises:
        ModelError: The file cannot be read as a photo.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except OSError as error:  # Pillow's own errors are among these
        raise ModelError(f"{path}: cannot be read as a photo ({error}); take it out of the folder") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def damage_photos(case: Case, paths: Sequence[Path]) -> Iterator[Sample]:
    """Clean photos, damaged as a case says; the index of a photo is its seed."""
    for index, path in enumerate(paths):
        clean = read_photo(path)
        damaged, mask = case.apply(clean, index)
        yield Sample(damaged, clean, mask, index, path.stem)


def read_pairs(found: RealSet) -> Iterator[Sample]:
    """The photos of a real set.

    Raises:
        ModelError: A pair differs in size.
    """
    for index, (damaged_path, clean_path) in enumerate(found.pairs):
        damaged = read_photo(damaged_path)
        clean = None if clean_path is None else read_photo(clean_path)
        if clean is not None and clean.shape != damaged.shape:
            raise ModelError(
                f"{damaged_path}: got {_size(damaged)} px, but its reference {clean_path} has {_size(clean)} px; "
                "a pair must have one size"
            )
        yield Sample(damaged, clean, None, index, damaged_path.stem)


def find_real_sets(folders: Iterable[Path], limit: int | None = None) -> list[RealSet]:
    """Sets of real photos in these folders and below, by their layout.

    - `low/` and `high/` in one folder, same file names: pairs.
    - `NAME_real.*` and `NAME_mean.*` in one folder: pairs.
    - any other folder with photos: no references.

    Args:
        folders: Where to look.
        limit: Most photos of each set.

    Raises:
        ModelError: There is none, or a photo of a paired layout has no partner.
    """
    found: list[RealSet] = []
    for root in folders:
        places = sorted({root, *(path for path in root.rglob("*") if path.is_dir())}) if root.is_dir() else []
        for place in places:
            if place.name in ("low", "high") and place != root and _holds_pairs(place.parent):
                continue
            pairs = _find_pairs(place)[:limit]
            if pairs:
                name = place.name if place == root else place.relative_to(root).as_posix()
                found.append(RealSet(name, _read_kinds(name), tuple(pairs)))
    if not found:
        names = ", ".join(str(folder) for folder in folders)
        raise ModelError(f"{names}: no photos found; give --data (or --real) a folder of really damaged photos")
    return found


def _find_pairs(folder: Path) -> list[tuple[Path, Path | None]]:
    if _holds_pairs(folder):
        high = {path.name: path for path in _photos(folder / "high")}
        low = _photos(folder / "low")
        lonely = [path for path in low if path.name not in high]
        if lonely:
            raise ModelError(f"{lonely[0]}: no photo of that name in {folder / 'high'}; pairs have the same name")
        return [(path, high[path.name]) for path in low]
    photos = _photos(folder)
    real = {path.stem.removesuffix(_REAL): path for path in photos if path.stem.endswith(_REAL)}
    mean = {path.stem.removesuffix(_MEAN): path for path in photos if path.stem.endswith(_MEAN)}
    if not real or not mean:
        return [(path, None) for path in photos]
    if set(real) != set(mean):
        stem = min(set(real) ^ set(mean))
        raise ModelError(f"{folder}: {stem} has no partner; pairs are named NAME{_REAL}.* and NAME{_MEAN}.*")
    return [(real[stem], mean[stem]) for stem in sorted(real)]


def _holds_pairs(folder: Path) -> bool:
    return (folder / "low").is_dir() and (folder / "high").is_dir()


def _photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_kinds(name: str) -> tuple[str, ...]:
    plain = name.lower().replace("-", "").replace("_", "")
    return next(((kind,) for word, kind in _WORDS.items() if word in plain), ())


def _size(image: torch.Tensor) -> str:
    return f"{image.shape[3]} x {image.shape[2]}"
