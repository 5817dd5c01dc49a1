"""Photos reach a real GPU from page-locked memory, and come back into it."""

from __future__ import annotations

import pytest
import torch

from model.transfer import empty_image, to_device, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_photos_go_through_page_locked_memory_unchanged() -> None:
    device = torch.device("cuda")
    image = empty_image((1, 3, 300, 200), device)
    assert image.is_pinned()
    image.uniform_()
    expected = image.clone()
    there = to_device(image, device)
    del image  # its memory must not be used again before the copy has been made
    empty_image((1, 3, 300, 200), device).zero_()
    here = to_host(there)
    assert here.is_pinned()
    assert torch.equal(here, expected)
