"""One restorer from two: the weighted mean of their weights ("Model soups", arXiv 2203.05482).

Runs that began with the same weights mostly lie in one basin, where the mean is as good as either or better. Where they
do not, it is worse than both: measure it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from model.checkpoint import ModelFolder
from model.errors import CheckpointError, ConfigError
from model.pipeline import build_network


@torch.no_grad()
def average_restorers(first: Path, second: Path, share: float, out: Path) -> None:
    """Write a model folder: stage one of the first model, and the mean of both restorers.

    Args:
        first: Model folder.
        second: Another with the same shape of network; its stage one should be that of the first.
        share: Of the second, 0..1.
        out: New folder.

    Raises:
        ConfigError: The share is out of range, the networks differ in shape, or `out` is one of the two.
        CheckpointError: Weights are missing or damaged.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"got share {share}, expected 0..1: the part of the second model")
    if out.resolve() in (first.resolve(), second.resolve()):
        raise ConfigError(f"{out}: is one of the two models; give a new folder")
    config, other = ModelFolder(first).load_config(), ModelFolder(second).load_config()
    if config.network != other.network or config.vlm.embed_dim != other.vlm.embed_dim:
        raise ConfigError(f"{first} and {second} have networks of different shape; there is no mean of them")
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
