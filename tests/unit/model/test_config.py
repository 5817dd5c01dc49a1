"""Configurations: what ships loads, what is written comes back, what cannot be built says why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from model.config import QUALITIES, ModelConfig, NetworkConfig, list_configs, load_config, save_config
from model.errors import ConfigError


def write(tmp_path: Path, values: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", list_configs())
def test_shipped_configurations_load_and_come_back_equal(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert config.description
    assert set(config.steps) >= set(QUALITIES)
    path = tmp_path / "config.json"
    save_config(config, path)
    assert load_config(path) == config


def test_tiny_and_small_are_shipped() -> None:
    assert {"tiny", "small"} <= set(list_configs())


def test_missing_values_are_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, {"name": "mine"})) == ModelConfig("mine")


def test_steps_by_kind_come_back_equal(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, {"name": "x", "steps_by_kind": {"balanced": {"haze": 4}, "best": {"noise": 1}}})
    )
    assert config.steps_by_kind == {"balanced": {"haze": 4}, "best": {"noise": 1}}
    path = tmp_path / "again.json"
    save_config(config, path)
    assert load_config(path) == config


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'huge' not found; known: .*tiny"):
        load_config("huge")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "got list, expected an object"),
        ({}, "name"),
        ({"name": "x", "vlm": 3}, "vlm: got int, expected an object"),
        ({"name": "x", "colour": 1}, "unknown keys ['colour']"),
        ({"name": "x", "network": {"depth": 1}}, "network: unknown keys ['depth']"),
        ({"name": "x", "tile_px": "256"}, "tile_px: got '256', expected int"),
        ({"name": "x", "tile_px": True}, "tile_px: got True, expected int"),
        ({"name": "x", "network": {"widths": 48}}, "network.widths: got 48, expected a list of whole numbers"),
        ({"name": "x", "network": {"widths": [48, "96"]}}, "expected a list of whole numbers"),
        ({"name": "x", "tile_px": 100}, "tile_px 100: expected a multiple of 8"),
        ({"name": "x", "tile_px": 64, "overlap_px": 32}, "more than twice overlap_px 32"),
        ({"name": "x", "network": {"blocks": [1, 1]}}, "3 widths need as many blocks (got 2)"),
        ({"name": "x", "network": {"decoder_blocks": [1]}}, "one decoder entry less (got 1)"),
        ({"name": "x", "network": {"backbone": "vit"}}, "expected 'nafnet' or 'unet2d'"),
        ({"name": "x", "steps": {"fast": 1}}, "needs ('fast', 'balanced', 'best')"),
        ({"name": "x", "steps": {"fast": 0, "balanced": 2, "best": 4}}, "each between 1 and 100"),
        ({"name": "x", "steps": {"fast": "1", "balanced": 2, "best": 4}}, "steps.fast: got '1', expected int"),
        ({"name": "x", "steps": 4}, "steps: got 4, expected an object"),
        ({"name": "x", "steps_by_kind": {"balanced": 2}}, "steps_by_kind.balanced: got 2, expected an object"),
        ({"name": "x", "steps_by_kind": {"balanced": {"haze": True}}}, "steps_by_kind.balanced.haze: got True"),
        ({"name": "x", "steps_by_kind": {"best": {"haze": 101}}}, "each between 1 and 100"),
        ({"name": "x", "steps_by_kind": {"fast": {"haze": 2}}}, "expected balanced or best"),
    ],
)
def test_configurations_that_cannot_be_built_say_why(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, values))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}"])
def test_files_that_are_no_json_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid JSON"):
        load_config(path)


def test_whole_numbers_are_taken_for_fractions(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, {"name": "x", "diffusion": {"noise_level": 12}}))
    assert config.diffusion.noise_level == 12.0
    assert isinstance(config.diffusion.noise_level, float)


def test_configurations_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config("tiny").tile_px = 8  # type: ignore[misc]


@pytest.mark.parametrize("levels", [(3,), (-1,), (1, 7)])
def test_attention_at_a_level_that_is_not_there_is_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="attention_levels"):
        ModelConfig("x", network=NetworkConfig(attention_levels=levels))
