from __future__ import annotations

import pytest
import torch

from model.degradation.camera import camera_chain
from model.degradation.kinds import KINDS
from model.degradation.synthesis import degrade, degrade_mixture, sample_severities
from tests.unit.model.degradation.photos import photos, psnr, seeded

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_nearly_the_picture_of_the_cpu(kind: str) -> None:
    clean = photos(4)
    severity = torch.tensor([0.0, 0.2, 0.6, 1.0])
    here = degrade(clean, kind, severity, generator=seeded(1))
    there = degrade(clean.cuda(), kind, severity.cuda(), generator=seeded(1))
    assert there.image.is_cuda
    assert there.mask.is_cuda
    assert float((there.mask.cpu() - here.mask).abs().mean()) < 0.002
    assert float(psnr(there.image.cpu(), here.image.clamp(0.0, 1.0)).min()) > 35.0


def test_mixtures_and_the_camera_run_on_a_gpu() -> None:
    severities = sample_severities(16, generator=seeded(0), mixture_probability=0.9, device="cuda")
    mixed = degrade_mixture(photos(16).cuda(), severities, generator=seeded(0)).image
    result = camera_chain(mixed, generator=seeded(0), strength=0.7)
    assert result.is_cuda
    assert bool(result.isfinite().all())
