"""LoRA on the text tower (peft), switched on for guidance and off for caption decoding.

The caption decoder was trained on the frozen text tower, and the alignment target is the frozen embedding; so the same
tower must be had with and without its adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from model.errors import ConfigError
from model.vlm.vision_language import VisionLanguageModel

MARK = "lora_"  # peft puts this into every adapter tensor's name


def add_text_adapters(vlm: VisionLanguageModel) -> None:
    """Put zero-initialised LoRA adapters on both feed-forward layers of every block of the text tower.

    The adapters start switched off and change nothing before they are trained ("LoRA", arXiv 2106.09685).

    Raises:
        ConfigError: The model's text tower has no transformer blocks to adapt.
    """
    text: Any = getattr(vlm.clip, "text", None)
    if text is None or not hasattr(text, "transformer"):
        raise ConfigError(
            "the text tower has no transformer to adapt; choose an open_clip model with a native text tower"
        )
    config = LoraConfig(
        r=vlm.config.lora_rank,
        lora_alpha=vlm.config.lora_alpha,
        target_modules=r".*mlp\.(c_fc|c_proj)",
        lora_dropout=0.0,
    )
    inject_adapter_in_model(config, text)
    _switch(vlm, enabled=False)


def encode_adapted_text(vlm: VisionLanguageModel, texts: list[str]) -> torch.Tensor:
    """E_lora of captions: unit-length embeddings (N, embed_dim) with the adapters on."""
    with adapters_on(vlm):
        return vlm.encode_text(texts)


@contextmanager
def adapters_on(vlm: VisionLanguageModel) -> Iterator[None]:
    """Switch the text adapters on for a while."""
    _switch(vlm, enabled=True)
    try:
        yield
    finally:
        _switch(vlm, enabled=False)


def adapter_parameters(vlm: VisionLanguageModel) -> list[nn.Parameter]:
    """The trainable adapter weights."""
    return [value for name, value in vlm.named_parameters() if MARK in name]


def _switch(vlm: VisionLanguageModel, *, enabled: bool) -> None:
    for module in vlm.clip.text.modules():
        if isinstance(module, BaseTunerLayer):
            module._disable_adapters = not enabled  # enable_adapters() would also freeze and unfreeze the weights
