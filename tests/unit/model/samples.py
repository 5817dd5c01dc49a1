"""Photos, data folders and guidance features for the model's tests."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from model.config import ModelConfig
from model.diffusion.context import Context, GuidanceFeatures

WORDS = ("a", "dog", "cat", "runs", "sits", "on", "the", "grass", "red", "ball")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(height: int = 80, width: int = 96, seed: int = 0) -> torch.Tensor:
    """A smooth random photo (1, 3, H, W) in [0, 1]: blobs of colour, as unlike noise as a real one."""
    blobs = torch.rand(1, 3, 6, 6, generator=generator(seed))
    return F.interpolate(blobs, (height, width), mode="bilinear", align_corners=False).clamp(0, 1)


def write_jpeg(path: Path, height: int = 80, width: int = 96, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (photo(height, width, seed)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path, quality=95)
    return path


def write_data(folder: Path, count: int = 6, side: int = 64) -> Path:
    """A data folder of small JPEGs with two captions each."""
    lines = []
    for index in range(count):
        write_jpeg(folder / f"{index}.jpg", side, side + 8 * index, seed=index)
        for number in range(2):
            words = [WORDS[(index * 3 + number + step) % len(WORDS)] for step in range(5)]
            lines.append(f"{index}.jpg\t{' '.join(words)}")
    (folder / "captions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def features(config: ModelConfig, batch: int = 2, seed: int = 0) -> GuidanceFeatures:
    """Random guidance features of the right sizes; the last photo has no caption."""
    draw = generator(seed)
    embed, width, pool = config.vlm.embed_dim, config.vlm.width, config.network.visual_pool
    known = torch.ones(batch, dtype=torch.bool)
    known[-1] = False
    return GuidanceFeatures(
        content=F.normalize(torch.randn(batch, embed, generator=draw), dim=-1),
        patches=torch.randn(batch, pool * pool, width, generator=draw),
        caption=F.normalize(torch.randn(batch, embed, generator=draw), dim=-1) * known[:, None],
        has_caption=known,
        degradation=torch.randn(batch, embed, generator=draw),
        severities=torch.rand(batch, 10, generator=draw),
    )


def context(config: ModelConfig, batch: int = 2, seed: int = 0, tokens: int = 6) -> Context:
    draw = generator(seed)
    return Context(
        torch.randn(batch, tokens, config.network.context_dim, generator=draw),
        torch.randn(batch, config.network.time_dim, generator=draw),
    )
