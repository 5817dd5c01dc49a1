"""Strips of pictures for the report: before, what each method made of it, clean; side by side in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from model.evaluate.restoration import Method
from model.evaluate.samples import Sample

STRIP_PHOTOS = 2  # photos shown per case
CROP_PX = 320  # side of the middle part shown of synthetic damage, at its own size, so that noise and blocks show
WHOLE_PX = 480  # longest side of a photo shown whole
_QUALITY = 90
_CONTRAST = 16  # of differences to the clean photo


@dataclass
class PictureBook:
    """The pictures of one suite.

    Attributes:
        folder: Of the report; pictures go to `pictures/` below it.
        suite: Name, first part of the file names.
        whole: Show photos whole and shrunk, not their middle.
        differences: Show the last method's difference to the clean photo too, sixteenfold.
        entries: What was written: case, photo, file, labels.
    """

    folder: Path
    suite: str
    whole: bool = False
    differences: bool = False
    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, case: str, index: int, sample: Sample, methods: Sequence[Method], results: list[torch.Tensor]
    ) -> None:
        """Write the strip of one photo, if it is one of the first of its case."""
        if index >= STRIP_PHOTOS:
            return
        labels = ["before", *_labels(methods)]
        parts = [sample.damaged.clamp(0, 1), *results]
        if sample.clean is not None:
            labels, parts = [*labels, "clean"], [*parts, sample.clean]
            if self.differences:
                shown = 0.5 + _CONTRAST * (results[-1] - sample.clean)
                labels.append(f"{labels[-2]} - clean, x {_CONTRAST}")
                parts.append(shown.clamp(0, 1))
        name = "".join(
            letter if letter.isalnum() or letter in "-." else "_" for letter in f"{self.suite} {case} {index}"
        )
        path = self.folder / "pictures" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = write_strip(path, [self._shown(part) for part in parts])
        file = path.relative_to(self.folder).as_posix()
        entry = {"case": case, "photo": index, "file": file, "labels": labels}
        self.entries.append({**entry, "width": size[0], "height": size[1]})

    def _shown(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        if not self.whole:
            top, left = (max(0, side - CROP_PX) // 2 // 8 * 8 for side in (height, width))
            return image[..., top : top + CROP_PX, left : left + CROP_PX]
        scale = WHOLE_PX / max(height, width)
        if scale >= 1:
            return image
        size = [max(1, round(side * scale)) for side in (height, width)]
        return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def write_strip(path: Path, parts: Sequence[torch.Tensor]) -> tuple[int, int]:
    """Write photos (1, 3, H, W) of one size side by side as a JPEG; returns its (width, height)."""
    pixels = (torch.cat(list(parts), 3)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    strip = Image.fromarray(pixels)
    strip.save(path, quality=_QUALITY, subsampling=0)
    return strip.size


def _labels(methods: Sequence[Method]) -> list[str]:
    names = [method.name for method in methods]
    steps = [getattr(method, "steps", None) for method in methods]
    several = len({count for name, count in zip(names, steps, strict=True) if name == names[0]}) > 1
    return [
        f"{count} step{'s' if count != 1 else ''}" if several and count else name
        for name, count in zip(names, steps, strict=True)
    ]
