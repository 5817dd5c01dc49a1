"""Arrays to tensors and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from app.worker.pixels import STRIP_ROWS, mask_to_tensor, shape_only, to_array, to_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_the_way_to_the_model_and_back(dtype: type[Any]) -> None:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top + 1, (STRIP_ROWS + 9, 7, 3)).astype(dtype)
    image = to_tensor(pixels)
    assert image.shape == (1, 3, STRIP_ROWS + 9, 7)
    assert image.dtype == torch.float32
    assert float(image.min()) >= 0.0
    assert float(image.max()) <= 1.0
    assert np.array_equal(to_array(image, pixels.dtype), pixels)


def test_values_are_rounded_to_the_nearest_and_kept_in_range() -> None:
    image = torch.tensor([-0.2, 0.0, 0.498 / 255, 0.502 / 255, 0.5, 1.0, 1.3]).view(1, 1, 1, 7).expand(1, 3, 1, 7)
    assert to_array(image, np.dtype(np.uint8))[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255]


def test_mask_is_one_where_pixels_are_missing() -> None:
    mask = mask_to_tensor(np.array([[True, False, False]]))
    assert mask.shape == (1, 1, 1, 3)
    assert mask.flatten().tolist() == [1.0, 0.0, 0.0]


def test_shape_only_keeps_shape_and_type_but_no_memory() -> None:
    empty = shape_only(np.ones((3000, 4000, 3), np.uint16))
    assert empty.shape == (3000, 4000, 3)
    assert empty.dtype == np.dtype(np.uint16)
    assert empty.strides == (0, 0, 0)
