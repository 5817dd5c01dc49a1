"""Model folders: what is saved comes back, and anything damaged, missing or foreign is noticed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import model.checkpoint
from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.errors import CheckpointError, ConfigError
from model.guidance import Guidance
from model.manifest import sha256_of
from model.pipeline import Restorer, build_network
from model.vlm.lora import MARK, adapter_parameters
from model.vlm.vision_language import VisionLanguageModel
from tests.unit.model.samples import photo


def save_parts(restorer: Restorer, path: Path) -> ModelFolder:
    """Write everything but the vision-language model."""
    folder, config, guidance = ModelFolder(path), restorer.config, restorer.guidance
    folder.save_part(config, "lora", guidance.vlm.clip, only=MARK)
    folder.save_part(config, "predictor", guidance.predictor)
    folder.save_part(config, "restorer", restorer.network)
    return folder


@pytest.fixture
def whole(tiny: ModelConfig, tmp_path: Path) -> tuple[ModelFolder, Restorer]:
    """A complete model folder and the model in it, whose weights half precision holds exactly."""
    torch.manual_seed(4)
    vlm = VisionLanguageModel(tiny.vlm, ("word1", "word2", "word3"))
    parts = Restorer.random(tiny, seed=4)
    for value in vlm.parameters():
        value.data = value.data.half().float()
    folder = ModelFolder(tmp_path / "model")
    folder.save_vlm(tiny, vlm)  # as training does it, before there are adapters
    guidance = Guidance(tiny, vlm)
    guidance.predictor.load_state_dict(parts.guidance.predictor.state_dict())
    restorer = Restorer(tiny, guidance, parts.network)
    for part in (*adapter_parameters(vlm), *guidance.predictor.parameters(), *restorer.network.parameters()):
        part.data = torch.where(part == 0, 0.02, part.data).half().float()
    names = guidance.predictor.get_buffer("names")
    names.copy_(names.half().float())
    return save_parts(restorer, folder.path), restorer


@pytest.fixture
def folder(restorer: Restorer, tmp_path: Path) -> ModelFolder:
    """The restorer's part of a model folder."""
    folder = ModelFolder(tmp_path / "model")
    folder.save_part(restorer.config, "restorer", restorer.network)
    return folder


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x40
    path.write_bytes(bytes(data))


def test_network_comes_back_within_half_precision(restorer: Restorer, folder: ModelFolder) -> None:
    network = build_network(restorer.config)
    folder.load_part("restorer", network)
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, restorer.network.state_dict()[name].half().float(), rtol=0, atol=0)
    assert folder.load_config() == restorer.config
    assert folder.has("restorer")
    assert not folder.has("predictor")


def test_only_safetensors_and_json_are_written(folder: ModelFolder) -> None:
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.json",
        "manifest.json",
        "restorer.safetensors",
    ]


def test_changed_byte_is_noticed(restorer: Restorer, folder: ModelFolder) -> None:
    damage(folder.path / "restorer.safetensors")
    with pytest.raises(CheckpointError, match="sha256 differs"):
        folder.load_part("restorer", build_network(restorer.config))


@pytest.mark.parametrize("keep", [0, 7, 100, 20_000])
def test_truncated_file_is_noticed_without_a_manifest_too(restorer: Restorer, folder: ModelFolder, keep: int) -> None:
    path = folder.path / "restorer.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="sha256 differs"):
        folder.load_part("restorer", build_network(restorer.config))
    (folder.path / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        folder.load_part("restorer", build_network(restorer.config))


def test_file_without_a_sum_is_taken_as_it_is_and_the_log_says_so(
    restorer: Restorer, folder: ModelFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.path / "manifest.json").unlink()
    with caplog.at_level("INFO", "model.manifest"):
        folder.load_part("restorer", build_network(restorer.config))
    assert "restorer.safetensors has no sha256 sum in manifest.json: taken as it is" in caplog.text


def test_unreadable_file_is_told(restorer: Restorer, folder: ModelFolder) -> None:
    path = folder.path / "restorer.safetensors"
    path.unlink()
    path.mkdir()  # which cannot be read by anybody, root included
    with pytest.raises(CheckpointError, match=r"no restorer\.safetensors"):
        folder.load_part("restorer", build_network(restorer.config))
    with pytest.raises(CheckpointError, match="cannot be read"):
        sha256_of(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"restorer.safetensors": 5}'])
def test_broken_manifest_is_noticed(restorer: Restorer, folder: ModelFolder, content: str) -> None:
    (folder.path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        folder.load_part("restorer", build_network(restorer.config))


@pytest.mark.parametrize("change", [{"widths": (16, 16)}, {"decoder_blocks": (2,)}, {"blocks": (0, 1)}])
def test_weights_of_another_configuration_name_the_tensor(
    restorer: Restorer, folder: ModelFolder, change: dict[str, Any]
) -> None:
    other = dataclasses.replace(restorer.config, network=dataclasses.replace(restorer.config.network, **change))
    with pytest.raises(CheckpointError, match=r"do not fit the configuration, first '\w+\.[\w.]+'; .*another config"):
        folder.load_part("restorer", build_network(other))


def test_missing_part_says_how_to_make_it(folder: ModelFolder, restorer: Restorer) -> None:
    with pytest.raises(CheckpointError, match=r"no predictor\.safetensors; run `vlmir train predictor`"):
        folder.load_part("predictor", restorer.guidance.predictor)


def test_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        ModelFolder(tmp_path).load_config()


def test_large_parts_are_sharded_and_come_back(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.checkpoint, "SHARD_BYTES", 10_000)
    folder = ModelFolder(tmp_path)
    folder.save_part(restorer.config, "restorer", restorer.network)
    shards = sorted(tmp_path.glob("restorer*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"restorer-00001-of-{len(shards):05d}.safetensors"
    assert all(shard.stat().st_size < 20_000 for shard in shards)
    network = build_network(restorer.config)
    folder.load_part("restorer", network)
    name = "time.0.weight"
    assert torch.equal(network.get_parameter(name), restorer.network.get_parameter(name).half().float())

    damage(shards[1])
    with pytest.raises(CheckpointError, match=f"{shards[1].name}.*sha256"):
        folder.load_part("restorer", network)
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=rf"{shards[1].name}: manifest\.json lists it, but it is missing"):
        folder.load_part("restorer", network)

    monkeypatch.setattr(model.checkpoint, "SHARD_BYTES", 2**20)
    folder.save_part(restorer.config, "restorer", restorer.network)  # old shards go
    assert [path.name for path in tmp_path.glob("restorer*")] == ["restorer.safetensors"]
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == ["restorer.safetensors"]


def test_whole_model_comes_back_and_restores_alike(whole: tuple[ModelFolder, Restorer]) -> None:
    folder, first = whole
    again = Restorer.load(folder.path)
    assert again.config == first.config
    before, after = first.restore(photo(), steps=2), again.restore(photo(), steps=2)
    assert after.caption == before.caption
    assert torch.equal(after.image, before.image)
    assert sorted({path.suffix for path in folder.path.iterdir()}) == [".json", ".safetensors"]


@pytest.mark.parametrize(("part", "command"), [("restorer", "restorer"), ("predictor", "predictor"), ("vlm", "vlm")])
def test_model_with_a_part_missing_is_refused(whole: tuple[ModelFolder, Restorer], part: str, command: str) -> None:
    folder, _ = whole
    (folder.path / f"{part}.safetensors").unlink()
    with pytest.raises(CheckpointError, match=rf"no {part}\.safetensors; run `vlmir train {command}`"):
        Restorer.load(folder.path)


def test_model_without_its_adapters_is_refused(whole: tuple[ModelFolder, Restorer]) -> None:
    folder, _ = whole
    (folder.path / "lora.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no lora\.safetensors; run `vlmir train predictor`"):
        Restorer.load(folder.path)


@pytest.mark.parametrize("content", [None, "", "{", "5", "\x80"])
def test_broken_vocabulary_is_noticed(whole: tuple[ModelFolder, Restorer], content: str | None) -> None:
    folder, _ = whole
    path = folder.path / "vocabulary.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"vocabulary\.json: cannot be read"):
        folder.load_vlm(folder.load_config())


def test_changed_vocabulary_is_noticed(whole: tuple[ModelFolder, Restorer]) -> None:
    folder, _ = whole
    path = folder.path / "vocabulary.json"
    path.write_text(path.read_text().replace("word2", "word4"))
    with pytest.raises(CheckpointError, match=r"vocabulary\.json: sha256 differs"):
        folder.load_vlm(folder.load_config())


def test_unknown_models_list_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"'no-such-model': no weights; known models: .*tiny"):
        Restorer.load("no-such-model")


def test_folder_with_a_bad_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError):
        Restorer.load(tmp_path)


def test_configuration_is_written_beside_every_part(folder: ModelFolder, restorer: Restorer) -> None:
    changed: ModelConfig = dataclasses.replace(restorer.config, name="mine")
    folder.save_part(changed, "predictor", restorer.guidance.predictor)
    assert folder.load_config().name == "mine"
