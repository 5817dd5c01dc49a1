"""Small open_clip model folders, as a published model would lie on a disk ("local-dir:PATH")."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from model.config import VLMConfig

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "patch_size": 16, "width": 24, "layers": 2, "head_width": 12}
CONFIG = VLMConfig(
    embed_dim=16, image_px=32, patch_px=16, width=24, early_block=0, native_views=1, lora_rank=2, lora_alpha=4
)


def write_published(folder: Path, *, captions: bool, weights: bool = True, **vision: Any) -> str:
    """Write configuration and random weights; returns the name to load them by."""
    model: dict[str, Any] = {"embed_dim": 16, "vision_cfg": VISION | vision, "text_cfg": dict(TEXT)}
    if captions:
        model["multimodal_cfg"] = dict(TEXT)
        model["vision_cfg"] |= {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
        model["text_cfg"] |= {"embed_cls": True, "output_tokens": True}
        model["custom_text"] = True
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "open_clip_config.json"
    target.write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}), encoding="utf-8")
    if weights:
        torch.manual_seed(1)
        kinds = {True: open_clip.CoCa, False: open_clip.CLIP}
        built = kinds[captions](**{key: value for key, value in model.items() if key != "custom_text"})
        if captions:  # open_clip leaves this one uninitialised
            torch.nn.init.normal_(built.text_decoder.text_projection, std=0.1)
        save_file(
            {name: value.contiguous() for name, value in built.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
    return f"local-dir:{folder}"
