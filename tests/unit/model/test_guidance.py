"""Stage one as a whole: captions, findings and the features stage two attends to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from model.checkpoint import ModelFolder
from model.degradation.kinds import KINDS, PROMPTS
from model.errors import CheckpointError
from model.guidance import Guidance
from model.pipeline import Restorer
from model.vlm.vision_language import VisionLanguageModel
from tests.unit.model.samples import photo


@torch.inference_mode()
def test_features_of_several_photos_are_those_of_each(restorer: Restorer) -> None:
    guidance, photos = restorer.guidance, [photo(50, 70, seed) for seed in range(3)]
    views = guidance.views(torch.cat(photos))
    together = guidance.predict(guidance.look(views), views)
    assert views.shape[:2] == (3, 1 + restorer.config.vlm.native_views)
    assert together.logits.shape == together.severities.shape == (3, len(KINDS))
    for i, image in enumerate(photos):
        own = guidance.views(image)
        alone = guidance.predict(guidance.look(own), own)
        for field in dataclasses.fields(together):
            torch.testing.assert_close(
                getattr(alone, field.name)[0], getattr(together, field.name)[i], rtol=0, atol=1e-5
            )
    assert guidance.describe(views) == [guidance.describe(guidance.views(image))[0] for image in photos]


@torch.inference_mode()
def test_missing_captions_are_zeros_and_marked(restorer: Restorer) -> None:
    embedding, known = restorer.guidance.embed_captions(["word1 word2", None, ""])
    assert known.tolist() == [True, False, True]
    assert not bool(embedding[1].any())
    torch.testing.assert_close(embedding[[0, 2]].norm(dim=1), torch.ones(2))


@torch.inference_mode()
def test_assembled_features_fit_the_network(restorer: Restorer) -> None:
    guidance, config = restorer.guidance, restorer.config
    views = guidance.views(photo())
    seen = guidance.look(views)
    prediction = guidance.predict(seen, views)
    given = guidance.assemble(seen, prediction, *guidance.embed_captions([None]))
    assert given.patches.shape == (1, config.network.visual_pool**2, config.vlm.width)
    assert torch.equal(given.severities, prediction.probabilities * prediction.severities)
    assert restorer.network.encode_context(given).tokens.shape[0] == 1


def test_nothing_of_the_vision_language_model_is_trained(restorer: Restorer) -> None:
    fresh = Restorer.random(restorer.config).guidance
    assert not any(value.requires_grad for value in fresh.vlm.parameters())


@torch.inference_mode()
def test_predictor_is_tied_to_the_names_of_the_kinds(restorer: Restorer) -> None:
    guidance = restorer.guidance
    names = guidance.vlm.encode_text([PROMPTS[kind] for kind in KINDS])
    torch.testing.assert_close(guidance.predictor.get_buffer("names"), names)


def test_model_without_a_caption_decoder_says_nothing(restorer: Restorer) -> None:
    vlm = dataclasses.replace(restorer.config.vlm, decoder_layers=0)
    silent = Restorer.random(dataclasses.replace(restorer.config, vlm=vlm))
    result = silent.restore(photo(), steps=1)
    assert result.caption is None
    assert result.image.shape == (1, 3, 80, 96)
    assert silent.restore(photo(), steps=1, caption="word1").caption == "word1"


def test_untrained_parts_are_accepted_only_when_asked_for(restorer: Restorer, tmp_path: Path) -> None:
    folder, config = ModelFolder(tmp_path), restorer.config
    torch.manual_seed(0)
    folder.save_vlm(config, VisionLanguageModel(config.vlm, ("word1", "word2")))
    guidance = Guidance.load(config, folder, trained=False)
    assert guidance.vlm.tokenizer.words == ("word1", "word2")
    with pytest.raises(CheckpointError, match=r"no lora\.safetensors"):
        Guidance.load(config, folder)
