"""One restorer from two: the weighted mean of their weights ("Model soups", arXiv 2203.05482).

Runs that began with the same weights mostly lie in one basin, where the mean is as good as either or better. Where they
do not, it is worse than both: measure it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.errors import CheckpointError, ConfigError
from model.pipeline import build_network


@torch.no_grad()
def average_restorers(first: Path, second: Path, share: float, out: Path) -> list[str]:
    """Write a model folder: stage one of the first model, and the mean of both restorers.

    Args:
        first: Model folder.
        second: Another with the same shape of network and the same bridge; its stage one should be that of the first.
        share: Of the second, 0..1.
        out: New folder.

    Returns:
        Sentences about what makes the mean doubtful: the second restorer was trained with another stage one, or with
        tiles of another size.

    Raises:
        ConfigError: The share is out of range, the networks differ in shape or were trained for different bridges, or
            `out` is one of the two.
        CheckpointError: Weights are missing or damaged.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"got share {share}, expected 0..1: the part of the second model")
    if out.resolve() in (first.resolve(), second.resolve()):
        raise ConfigError(f"{out}: is one of the two models; give a new folder")
    config, other = ModelFolder(first).load_config(), ModelFolder(second).load_config()
    if config.network != other.network or config.vlm.embed_dim != other.vlm.embed_dim:
        raise ConfigError(f"{first} and {second} have networks of different shape; there is no mean of them")
    bridges = [dataclasses.replace(item.diffusion, stochastic=False) for item in (config, other)]  # of inference alone
    if bridges[0] != bridges[1]:
        raise ConfigError(
            f"{first} and {second} were trained for different bridges, {bridges[0]} and {bridges[1]}; "
            "there is no mean of what they predict"
        )
    mean, added = build_network(config), build_network(other)
    ModelFolder(first).load_part("restorer", mean)
    ModelFolder(second).load_part("restorer", added)
    tensors = added.state_dict()
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(tensors[name], share)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(first.iterdir()):
        if path.suffix in (".json", ".safetensors") and not path.name.startswith(("restorer", "manifest")):
            shutil.copy(path, out / path.name)
    if not any(out.glob("predictor*.safetensors")):
        raise CheckpointError(f"{first}: no predictor; run `vlmir train predictor` first")
    ModelFolder(out).save_part(config, "restorer", mean)
    return list(_doubts(first, config, second, other))


def _doubts(first: Path, config: ModelConfig, second: Path, other: ModelConfig) -> Iterator[str]:
    parts = [part for part in ("vlm", "lora", "predictor") if _differs(first, second, part)]
    parts += [name for name in ("vlm", "predictor") if getattr(config, name) != getattr(other, name)]
    if parts:
        yield (
            f"{second} has another stage one ({', '.join(dict.fromkeys(parts))}) than {first}, whose the mean takes: "
            "its restorer has learnt from other features than it will see"
        )
    if (config.tile_px, config.overlap_px) != (other.tile_px, other.overlap_px):
        yield (
            f"{second} has tiles of {other.tile_px} px that overlap by {other.overlap_px}, {first} has them of "
            f"{config.tile_px} px by {config.overlap_px}, and so has the mean: channel attention averages over a tile"
        )


def _differs(first: Path, second: Path, part: str) -> bool:
    return ModelFolder(first).digests(part) != ModelFolder(second).digests(part)
