"""On the CPU nothing is copied on the way to the model and back."""

from __future__ import annotations

import torch

from model.transfer import empty_image, to_device, to_host

CPU = torch.device("cpu")


def test_photos_of_the_cpu_stay_where_they_are() -> None:
    image = empty_image((1, 3, 4, 5), CPU)
    assert image.dtype == torch.float32
    assert to_device(image, CPU).data_ptr() == image.data_ptr()
    assert to_host(image).data_ptr() == image.data_ptr()


def test_other_types_become_float32() -> None:
    image = torch.ones(1, 3, 4, 5, dtype=torch.float64)
    assert to_device(image, CPU).dtype == torch.float32
