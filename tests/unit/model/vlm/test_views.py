"""Square views of photos of every shape: JPEG blocks kept on their grid, nothing outside [0, 1]."""

from __future__ import annotations

import pytest
import torch

from model.errors import ShapeError
from model.vlm.views import mirror_to, photo_views
from tests.unit.model.samples import photo


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (32, 32), (33, 500), (400, 90)])
@pytest.mark.parametrize("native", [0, 3])
def test_views_of_any_photo(size: tuple[int, int], native: int) -> None:
    views = photo_views(photo(*size), 32, native)
    assert views.shape == (1, 1 + native, 3, 32, 32)
    assert views.min() >= 0
    assert views.max() <= 1


def test_native_crops_are_pixels_of_the_photo_on_the_jpeg_grid() -> None:
    rows, columns = torch.arange(200.0) / 512, torch.arange(300.0) / 512
    image = torch.stack([rows[:, None].expand(200, 300), columns.expand(200, 300), torch.zeros(200, 300)])[None]
    crops = photo_views(image, 48, 6)[0, 1:]
    corners = set()
    for crop in crops:
        top, left = round(float(crop[0, 0, 0]) * 512), round(float(crop[1, 0, 0]) * 512)
        assert top % 8 == 0
        assert left % 8 == 0
        assert torch.equal(crop, image[0, :, top : top + 48, left : left + 48])
        corners.add((top, left))
    assert len(corners) == 6


def test_crops_lie_at_the_same_places_in_every_photo_of_a_size() -> None:
    first, second = photo(120, 150, 1), photo(120, 150, 2)
    both = photo_views(torch.cat([first, second]), 32, 2)
    torch.testing.assert_close(both, torch.cat([photo_views(first, 32, 2), photo_views(second, 32, 2)]))


def test_values_outside_the_range_are_clamped() -> None:
    image = 4 * photo(50, 60) - 2
    views = photo_views(image, 16, 1)
    torch.testing.assert_close(views, photo_views(image.clamp(0, 1), 16, 1))
    assert views.min() >= 0
    assert views.max() <= 1


def test_one_colour_stays_this_colour() -> None:
    image = torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1).expand(1, 3, 40, 9)
    torch.testing.assert_close(photo_views(image, 24, 2)[0, :, :, 0, 0], image[0, :, 0, 0].expand(3, 3))


def test_mirroring_repeats_the_photo_back_and_forth() -> None:
    row = torch.tensor([[1.0, 2.0, 3.0]])
    assert mirror_to(row, 1, 8).tolist() == [[1, 2, 3, 2, 1, 2, 3, 2]]
    assert mirror_to(row, 3, 3).tolist() == [[1, 2, 3]] * 3
    assert mirror_to(row.T, 4, 1).T.tolist() == [[1, 2, 3, 2]]


def test_large_enough_photos_are_not_copied() -> None:
    image = photo(20, 30)
    assert mirror_to(image, 20, 10) is image


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 0, 8), torch.zeros(0, 3, 8, 8)]
)
def test_other_shapes_are_refused(image: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="expected \\(B, 3, H, W\\)"):
        photo_views(image, 16, 1)


def test_integer_photos_are_refused_with_advice() -> None:
    with pytest.raises(ShapeError, match="divide uint8 images by 255"):
        photo_views(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 16, 1)
