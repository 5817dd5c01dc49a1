from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from model.degradation.errors import DegradationError
from model.degradation.holes import find_holes, label_regions, locate_holes
from model.degradation.synthesis import degrade
from tests.unit.model.degradation.photos import seeded


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A real photo, because the rule is about what real photos look like."""
    pixels = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255.0
    return (F.interpolate(pixels, (200, 300), mode="area") * 255.0).round() / 255.0


def overlap(found: Tensor, truth: Tensor) -> float:
    """Return the area of the intersection over that of the union."""
    return float((found * truth).sum() / torch.maximum(found, truth).sum())


def as_jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    pixels = (image[0] * 255.0).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    with Image.open(file) as picture:
        levels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return levels.view(*pixels.shape).permute(2, 0, 1)[None].float() / 255.0


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size of the largest tensor that an operation makes; views of what there is do not count."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in args if isinstance(tensor, Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("severity", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_holes_of_our_own_making_are_found(photo: Tensor, severity: float, seed: int) -> None:
    damaged = degrade(photo, "inpainting", severity, generator=seeded(seed))
    assert overlap(find_holes(damaged.image), damaged.mask) > 0.85  # thin ends of strokes may be missed


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (20, 220, 90)])
def test_a_box_of_any_colour_is_found_also_in_a_good_jpeg(photo: Tensor, colour: tuple[int, int, int]) -> None:
    truth = torch.zeros(1, 1, 200, 300)
    truth[..., 40:120, 60:170] = 1.0
    fill = torch.tensor(colour)[None, :, None, None] / 255.0
    cut = torch.where(truth.bool(), fill, photo)
    assert overlap(find_holes(cut), truth) > 0.97
    assert overlap(find_holes(as_jpeg(cut, 97)), truth) > 0.9


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee", "rocket", "hubble_deep_field"])
def test_photos_without_holes_have_none(name: str) -> None:
    pixels = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255.0
    assert find_holes(pixels).sum() == 0


def test_a_blown_out_sky_is_not_a_hole(photo: Tensor) -> None:
    sky = photo.clone()
    fade = torch.linspace(1.0, 0.0, 60)[:, None]
    sky[..., :60, :] = 1.0
    sky[..., 60:120, :] = fade + (1.0 - fade) * photo[..., 60:120, :]
    assert find_holes(sky).sum() == 0


def test_letterbox_bars_are_not_holes(photo: Tensor) -> None:
    boxed = photo.clone()
    boxed[..., :25, :] = 0.0
    boxed[..., -25:, :] = 0.0
    assert find_holes(boxed).sum() == 0


def test_a_lamp_that_fades_is_not_a_hole(photo: Tensor) -> None:
    y, x = torch.arange(200.0)[:, None] - 90.0, torch.arange(300.0) - 150.0
    glow = ((60.0 - (y**2 + x**2).sqrt()) / 25.0).clamp(0.0, 1.0)
    assert find_holes(photo + (1.0 - photo) * glow).sum() == 0


def test_a_drawing_of_many_flat_colours_has_no_holes() -> None:
    tiles = torch.rand(1, 3, 6, 9, generator=seeded(0))
    drawing = F.interpolate((tiles * 255.0).round() / 255.0, (180, 270), mode="nearest")
    assert find_holes(drawing).sum() == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_single_colour_is_not_a_hole(value: float) -> None:
    assert find_holes(torch.full((1, 3, 50, 60), value)).sum() == 0


def test_specks_are_too_small(photo: Tensor) -> None:
    speck = photo.clone()
    speck[..., 100:104, 100:104] = 1.0
    assert find_holes(speck).sum() == 0


def test_a_large_photo_is_searched_on_a_grid_and_found_in_full(photo: Tensor) -> None:
    large = F.interpolate(photo, (1200, 1800), mode="bicubic").clamp(0.0, 1.0)
    truth = torch.zeros(1, 1, 1200, 1800)
    truth[..., 301:702, 400:1003] = 1.0
    assert overlap(find_holes(torch.where(truth.bool(), torch.ones(()), large)), truth) > 0.99


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 2, 40), (1, 3, 3, 3), (1, 3, 5, 1)])
def test_tiny_photos_have_no_holes(shape: tuple[int, ...]) -> None:
    assert find_holes(torch.rand(shape)).sum() == 0


@pytest.mark.parametrize("image", [torch.rand(2, 3, 8, 8), torch.rand(3, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_anything_but_one_photo_is_refused(image: Tensor) -> None:
    with pytest.raises(DegradationError, match=r"\(1,3,H,W\)"):
        find_holes(image)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 14), width=st.integers(1, 14), seed=st.integers(0, 10**6), share=st.floats(0.1, 0.9))
def test_labels_are_the_connected_regions(height: int, width: int, seed: int, share: float) -> None:
    mask = torch.rand(1, 1, height, width, generator=seeded(seed)) < share
    labels = label_regions(mask)
    assert torch.equal(labels > 0, mask)
    assert same_regions(labels[0, 0].tolist(), flood(mask[0, 0].tolist()))


def flood(mask: list[list[bool]]) -> list[list[int]]:
    """Label by a plain flood fill."""
    labels = [[0] * len(mask[0]) for _ in mask]
    count = 0
    for y, row in enumerate(mask):
        for x, inside in enumerate(row):
            if not inside or labels[y][x]:
                continue
            count += 1
            stack = [(y, x)]
            while stack:
                v, u = stack.pop()
                if 0 <= v < len(mask) and 0 <= u < len(row) and mask[v][u] and not labels[v][u]:
                    labels[v][u] = count
                    stack += [(v + dy, u + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return labels


def same_regions(first: list[list[int]], second: list[list[int]]) -> bool:
    """Tell whether two labellings differ in their numbers only."""
    pairs = {(a, b) for rows in zip(first, second, strict=True) for a, b in zip(*rows, strict=True)}
    return len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})


def test_a_photo_without_flat_regions_is_searched_without_copies_of_its_size(photo: Tensor) -> None:
    large = F.interpolate(photo, (1400, 1600), mode="bilinear")
    large = (large + 0.02 * torch.rand(large.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    with LargestTensor() as largest:
        assert locate_holes(large) is None
    assert largest.elements <= large.numel() / 2


def test_the_place_is_a_bool_of_what_the_mask_says(photo: Tensor) -> None:
    holed = photo.clone()
    holed[..., 30:80, 40:120] = 1.0
    place = locate_holes(holed)
    assert place is not None
    assert place.dtype == torch.bool
    assert torch.equal(place.float(), find_holes(holed))
