"""The vision-language model behind one interface: our small CoCa or any open_clip CLIP / CoCa.

What lives here: building, preprocessing, embeddings, tokens. Captions are in `captioner`, adapters in `lora`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg
from torch import nn

from model.checks import check_image
from model.config import VLMConfig
from model.errors import ConfigError
from model.vlm.tokenizer import WordTokenizer


@dataclass(frozen=True)
class ImageFeatures:
    """What the image tower says of N views.

    Attributes:
        embedding: (N, embed_dim), unit length.
        tokens: (N, L, width) patch tokens of the last block.
        early: (N, L, width) patch tokens of an early block, where noise and blur still show.
    """

    embedding: torch.Tensor
    tokens: torch.Tensor
    early: torch.Tensor


class VisionLanguageModel(nn.Module):
    """Image tower, text tower and, for CoCa models, a caption decoder.

    Args:
        config: Sizes, or the open_clip name of a published model.
        words: Vocabulary of an inline model, most frequent first; unused with a published model.
        pretrained: False builds a named model without fetching its weights (they come from a checkpoint).

    Raises:
        ConfigError: The name is unknown, or the model's widths differ from the configuration.
    """

    def __init__(self, config: VLMConfig, words: tuple[str, ...] = (), *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.tokenizer: Any
        self.clip: Any  # open_clip is untyped
        if config.source == "inline":
            self.clip = _build_inline(config)
            self.tokenizer = WordTokenizer(words, config.context_length)
            mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
        else:
            self.clip, self.tokenizer, mean, std = _build_named(config.source, pretrained)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._check_dimensions()

    @property
    def has_captions(self) -> bool:
        """Whether a caption decoder is there (CoCa)."""
        return getattr(self.clip, "text_decoder", None) is not None and self.config.decoder_layers > 0

    @property
    def image_px(self) -> int:
        """Side of the square view the image tower takes, in pixels."""
        size = self.clip.visual.image_size
        return int(size[0] if isinstance(size, (tuple, list)) else size)

    def normalize(self, views: torch.Tensor) -> torch.Tensor:
        """Shift [0, 1] RGB views to the range the tower was trained with."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (views.to(mean.dtype) - mean) / std

    def encode_views(self, views: torch.Tensor) -> ImageFeatures:
        """Embedding and tokens of views (N, 3, image_px, image_px) in [0, 1]."""
        check_image(views, "views")
        last = len(self.clip.visual.transformer.resblocks) - 1
        out = self.clip.visual.forward_intermediates(
            self.normalize(views), indices=[min(self.config.early_block, last), last], output_fmt="NLC"
        )
        early, tokens = (out["image_intermediates"] * 2)[:2]
        return ImageFeatures(nn.functional.normalize(out["image_features"], dim=-1), tokens, early)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Unit-length embeddings (N, embed_dim) of captions."""
        ids = self.tokenizer(texts).to(self.get_buffer("mean").device)
        embedding: torch.Tensor = self.clip.encode_text(ids, normalize=True)
        return embedding

    def _check_dimensions(self) -> None:
        visual = self.clip.visual
        if not hasattr(visual, "forward_intermediates") or not hasattr(visual, "transformer"):
            raise ConfigError(f"{self.config.source}: the image tower is not a vision transformer; choose a ViT model")
        got = {
            "embed_dim": int(visual.output_dim),
            "width": int(visual.positional_embedding.shape[-1]),
            "image_px": self.image_px,
        }
        for key, value in got.items():
            if value != getattr(self.config, key):
                raise ConfigError(
                    f"vlm.{key}: got {getattr(self.config, key)} but {self.config.source} has {value}; "
                    f"set vlm.{key} to {value}"
                )


def _build_inline(config: VLMConfig) -> Any:
    heads = config.width // config.head_width
    text = {
        "context_length": config.context_length,
        "vocab_size": config.vocab_size,
        "width": config.width,
        "heads": heads,
        "output_tokens": True,
    }
    vision = {
        "image_size": config.image_px,
        "patch_size": config.patch_px,
        "width": config.width,
        "layers": config.vision_layers,
        "head_width": config.head_width,
        "pool_type": "avg",
        "output_tokens": True,
    }
    clip = open_clip.CoCa(
        embed_dim=config.embed_dim,
        vision_cfg=vision,
        text_cfg={**text, "layers": config.text_layers, "embed_cls": True},
        multimodal_cfg={**text, "layers": max(1, config.decoder_layers)},
    )
    # open_clip leaves this parameter as uninitialised memory until weights are loaded
    nn.init.normal_(clip.text_decoder.text_projection, std=config.width**-0.5)
    clip.text.correct_cls_mask = True
    if config.conv_stem:
        clip.visual.conv1 = _conv_stem(config.width, config.patch_px)
    return clip


def _conv_stem(width: int, patch_px: int) -> nn.Sequential:
    # "Early convolutions help transformers see better" (arXiv 2106.14881): stride-2 3x3 steps in place of one big patch
    layers: list[nn.Module] = []
    channels, stride = 3, 1
    while stride < patch_px:
        stride *= 2
        out = max(16, width * stride // (patch_px * 2))
        layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.GroupNorm(1, out), nn.GELU()]
        channels = out
    return nn.Sequential(*layers, nn.Conv2d(channels, width, 1))


def _build_named(source: str, pretrained: bool) -> tuple[Any, Any, Any, Any]:
    name, tag = source, None
    if source.startswith("open_clip:"):
        name, _, tag = source.removeprefix("open_clip:").partition("/")
        if pretrained and not tag:
            raise ConfigError(
                f"vlm.source {source!r}: names no weights; add /TAG from "
                f"open_clip.list_pretrained_tags_by_model({name!r})"
            )
    try:
        clip = open_clip.create_model(
            name,
            pretrained=(tag or None) if pretrained else None,
            load_weights=pretrained,
            require_pretrained=pretrained,  # a folder without weights would quietly give random ones
            force_custom_text=True,  # plain CLIPs keep their text tower in a module of its own too, which LoRA needs
            output_dict=True,
        )
        tokenizer = open_clip.get_tokenizer(name)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"vlm.source {source!r}: open_clip cannot build or fetch it ({error}); use 'open_clip:NAME/TAG' from "
            "open_clip.list_pretrained(), 'hf-hub:ORG/REPO' where there is internet, or 'local-dir:PATH'"
        ) from error
    preprocess = PreprocessCfg(**getattr(clip.visual, "preprocess_cfg", {}))
    return clip, tokenizer, preprocess.mean, preprocess.std
