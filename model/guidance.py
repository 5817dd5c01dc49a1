"""Stage one as one module: the vision-language model, its text adapters and the degradation predictor.

Gives the features that stage two attends to, and the findings a user reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.degradation.kinds import KINDS, PROMPTS
from model.degradation.predictor import DegradationPredictor, Prediction
from model.diffusion.context import GuidanceFeatures
from model.vlm.captioner import caption_views
from model.vlm.lora import MARK, add_text_adapters, encode_adapted_text
from model.vlm.views import photo_views
from model.vlm.vision_language import ImageFeatures, VisionLanguageModel


class Guidance(nn.Module):
    """Looks at photos: captions, degradations, content.

    Args:
        config: Model configuration.
        vlm: The vision-language model, adapters not yet added.
    """

    def __init__(self, config: ModelConfig, vlm: VisionLanguageModel) -> None:
        super().__init__()
        self.config, self.vlm = config, vlm
        with torch.no_grad():
            names = vlm.encode_text([PROMPTS[kind] for kind in KINDS])
        add_text_adapters(vlm)
        self.predictor = DegradationPredictor(config.predictor, config.vlm.embed_dim, config.vlm.width, names)
        self.vlm.requires_grad_(False)

    @classmethod
    def load(cls, config: ModelConfig, folder: ModelFolder, *, trained: bool = True) -> Guidance:
        """Read the vision-language model, its adapters and the predictor.

        Args:
            config: Of the folder.
            folder: Where the weights are.
            trained: False accepts that adapters (of a model with captions) and predictor are not trained yet.

        Raises:
            CheckpointError: Weights are missing, damaged or do not fit.
        """
        guidance = cls(config, folder.load_vlm(config))
        if folder.has("lora") or (trained and guidance.vlm.has_captions):
            folder.load_part("lora", guidance.vlm.clip, only=MARK)
        if folder.has("predictor") or trained:
            folder.load_part("predictor", guidance.predictor)
        return guidance

    def views(self, image: torch.Tensor, native: int | None = None) -> torch.Tensor:
        """Views (B, V, 3, px, px) of photos (B, 3, H, W); see `photo_views`."""
        return photo_views(image, self.vlm.image_px, self.config.vlm.native_views if native is None else native)

    def look(self, views: torch.Tensor) -> ImageFeatures:
        """Tower features of views (B, V, 3, px, px), each with leading axes (B, V)."""
        batch, count = views.shape[:2]
        features = self.vlm.encode_views(views.flatten(0, 1))
        parts = (features.embedding, features.tokens, features.early)
        return ImageFeatures(*(value.reshape(batch, count, *value.shape[1:]) for value in parts))

    def predict(self, features: ImageFeatures, views: torch.Tensor) -> Prediction:
        """Degradations and clean content from views (B, V, 3, px, px) and their features by `look`."""
        prediction: Prediction = self.predictor(features.embedding, features.tokens, features.early, views)
        return prediction

    def describe(self, views: torch.Tensor, max_tokens: int | None = None) -> list[str | None]:
        """Captions of the whole-photo views; None for models without a caption decoder."""
        if not self.vlm.has_captions:
            return [None] * views.shape[0]
        return [text or None for text in caption_views(self.vlm, views[:, 0], max_tokens=max_tokens)]

    def embed_captions(self, captions: Sequence[str | None]) -> tuple[torch.Tensor, torch.Tensor]:
        """E_lora of captions (B, E) and which of them exist (B,)."""
        device = next(self.predictor.parameters()).device
        known = torch.tensor([caption is not None for caption in captions], device=device)
        embedding = encode_adapted_text(self.vlm, [caption or "" for caption in captions])
        return embedding * known[:, None], known

    def assemble(
        self, features: ImageFeatures, prediction: Prediction, caption: torch.Tensor, has_caption: torch.Tensor
    ) -> GuidanceFeatures:
        """Everything stage two is given, from the parts above."""
        tokens = features.tokens[:, 0]
        side = round(tokens.shape[1] ** 0.5)
        grid = tokens[:, : side * side].transpose(1, 2).reshape(tokens.shape[0], -1, side, side)
        pooled = F.adaptive_avg_pool2d(grid, self.config.network.visual_pool).flatten(2).transpose(1, 2)
        return GuidanceFeatures(
            content=prediction.content,
            patches=pooled,
            caption=caption,
            has_caption=has_caption,
            degradation=prediction.degradation,
            severities=prediction.probabilities * prediction.severities,
        )
