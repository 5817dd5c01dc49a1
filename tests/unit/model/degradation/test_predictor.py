"""The degradation predictor: photos apart, kinds tied to their names, an honest start."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from model.config import PredictorConfig
from model.degradation.predictor import DegradationPredictor, Prediction
from tests.unit.model.samples import generator

CONFIG = PredictorConfig(width=16, heads=2, layers=1, channels=4)


def build() -> DegradationPredictor:
    torch.manual_seed(0)
    return DegradationPredictor(CONFIG, 12, 20, F.normalize(torch.randn(10, 12, generator=generator(1)), dim=1)).eval()


def inputs(batch: int = 3, count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = generator()
    embedding = F.normalize(torch.randn(batch, count, 12, generator=draw), dim=-1)
    tokens, early = torch.randn(batch, count, 4, 20, generator=draw), torch.randn(batch, count, 4, 20, generator=draw)
    return embedding, tokens, early, torch.rand(batch, count, 3, 32, 32, generator=draw)


@torch.inference_mode()
def test_shapes_and_ranges() -> None:
    prediction = build()(*inputs())
    assert prediction.logits.shape == prediction.severities.shape == (3, 10)
    assert prediction.degradation.shape == prediction.content.shape == (3, 12)
    for value in (prediction.probabilities, prediction.severities):
        assert value.min() >= 0
        assert value.max() <= 1
    torch.testing.assert_close(prediction.content.norm(dim=1), torch.ones(3))


@torch.inference_mode()
def test_photos_do_not_see_each_other() -> None:
    module, given = build(), inputs()
    together = module(*given)
    for i in range(3):
        alone = module(*(value[i : i + 1] for value in given))
        for field in dataclasses.fields(Prediction):
            torch.testing.assert_close(
                getattr(alone, field.name)[0], getattr(together, field.name)[i], rtol=0, atol=1e-5
            )


@torch.inference_mode()
def test_content_starts_as_that_of_the_damaged_photo() -> None:
    given = inputs()
    torch.testing.assert_close(build()(*given).content, given[0][:, 0])


@torch.inference_mode()
def test_every_input_matters() -> None:
    module, given = build(), inputs()
    before = module(*given).logits
    for index in range(1, 4):
        changed = list(given)
        changed[index] = changed[index].flip(0)
        assert not torch.allclose(module(*changed).logits, before, atol=1e-4)


@torch.inference_mode()
def test_any_number_of_views() -> None:
    for count in (1, 2, 5):
        assert build()(*inputs(2, count)).logits.shape == (2, 10)


@torch.inference_mode()
def test_order_of_native_crops_does_not_matter_but_that_of_the_whole_photo_does() -> None:
    module, given = build(), inputs(2, 3)
    before = module(*given).logits
    torch.testing.assert_close(module(*(value[:, [0, 2, 1]] for value in given)).logits, before, rtol=0, atol=1e-5)
    assert not torch.allclose(module(*(value[:, [1, 0, 2]] for value in given)).logits, before, atol=1e-4)


@torch.inference_mode()
def test_embedding_along_a_name_raises_that_kind() -> None:
    module = build()
    names = F.normalize(module.get_buffer("names") + module.name_shift, dim=-1)
    logits = module.log_scale.exp() * names @ names.T + module.bias
    assert torch.equal(logits.argmax(1), torch.arange(10))


def test_names_are_kept_and_not_trained() -> None:
    module = build()
    assert "names" in module.state_dict()
    assert "names" not in dict(module.named_parameters())
