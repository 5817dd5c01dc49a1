"""How much work a photo is: tiles of a step, as the pipeline cuts them."""

from __future__ import annotations

from app.bench.photos import Size
from model.config import JPEG_BLOCK, ModelConfig
from model.tiling import TileGrid


def count_tiles(config: ModelConfig, size: Size) -> int:
    """Tiles of one denoising step of a photo; times its steps, these are its tile-steps."""
    width, height = (max(config.tile_px, -(-side // JPEG_BLOCK) * JPEG_BLOCK) for side in size)
    return len(TileGrid.cover(height, width, config.tile_px, config.overlap_px, JPEG_BLOCK))
