"""Stage one, third part: the degradation predictor on the frozen image tower.

Losses: per-kind binary cross-entropy and a supervised contrastive term on e_d (plain in-batch InfoNCE has a floor,
since the same kind appears many times in a batch), severity where the kind is present, and 1 - cos(e_c, E_image(HQ)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from model.checkpoint import ModelFolder
from model.degradation.camera import camera_chain
from model.degradation.kinds import KINDS
from model.degradation.predictor import Prediction
from model.degradation.synthesis import degrade_mixture, sample_severities
from model.guidance import Guidance
from model.train.photos import Photo, crop_photo
from model.vlm.vision_language import ImageFeatures

REGION_PX = (160, 224, 320)  # photos of several sizes: from hardly shrunk in the whole-photo view to clearly shrunk
_TRAINING_CROPS = 1
_REPLAYED = 32  # per step: the frozen tower is most of the cost, so its features are learnt from several times
_MEMORY = 4096
# Clean photos teach what is no damage: with 8 % of them and shadows drawn twice as often as other kinds, two of six
# undamaged test photos were found to be in the shade, and brightened.
_CLEAN = 0.15


@dataclass(frozen=True)
class PredictorBatch:
    """Damaged and clean regions (B, 3, S, S) and the severities (B, K) that were applied."""

    damaged: torch.Tensor
    clean: torch.Tensor
    severities: torch.Tensor


class Example(NamedTuple):
    """Tower features and views of one damaged region, the clean region's embedding, and what was applied."""

    embedding: torch.Tensor
    tokens: torch.Tensor
    early: torch.Tensor
    views: torch.Tensor
    target: torch.Tensor
    severities: torch.Tensor


class PredictorTask:
    """Trains the predictor on damage made on the fly.

    Args:
        guidance: Its vision-language model is trained and stays frozen.
        photos: Clean photos, at least 320 px on each side (`load_photos` enlarges smaller ones).
        held_out: Photos for the figures.
        device: Where to train.
        batch_size: New regions per step.
    """

    name = "predictor"
    progress = 0.0

    def __init__(
        self, guidance: Guidance, photos: list[Photo], held_out: list[Photo], device: torch.device, batch_size: int = 16
    ) -> None:
        self.guidance, self.photos, self.device, self.batch_size = guidance.to(device), photos, device, batch_size
        self.module: nn.Module = guidance.predictor
        self._memory: list[Example] = []
        self._held_out = [self._make(held_out, torch.Generator().manual_seed(900 + part), 32) for part in range(8)]

    def batch(self, step: int, generator: torch.Generator) -> PredictorBatch:
        """Random regions with random damage."""
        return self._make(self.photos, generator, self.batch_size)

    def count(self, batch: PredictorBatch) -> int:
        """Images in a batch."""
        return len(batch.clean)

    def loss(self, batch: PredictorBatch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Sum of the four terms over new regions and replayed ones."""
        views, features, target = self._features(batch)
        columns = (
            features.embedding,
            features.tokens,
            features.early,
            (views * 255).round().byte(),
            target,
            batch.severities,
        )
        rows = zip(*columns, strict=True)
        new = [Example(*row) for row in rows]
        replayed = torch.randint(max(1, len(self._memory)), (_REPLAYED,), generator=generator).tolist()
        examples = new + [self._memory[index] for index in replayed if self._memory]
        self._memory = (self._memory + new)[-_MEMORY:]
        stacked = (torch.stack(column) for column in zip(*examples, strict=True))
        embedding, tokens, early, pixels, target, severities = stacked
        prediction = self.guidance.predict(ImageFeatures(embedding, tokens, early), pixels.float() / 255)
        present = (severities > 0).float()
        classes = F.binary_cross_entropy_with_logits(prediction.logits.float(), present)
        error = (prediction.severities.float() - severities).abs()
        severity = (error * present).sum() / present.sum().clamp(min=1)
        contrast = supervised_contrast(prediction.degradation.float(), present)
        content = 1 - F.cosine_similarity(prediction.content.float(), target.float()).mean()
        loss = 4 * classes + severity + 0.1 * contrast + content
        figures = {"bce": classes, "severity_error": severity, "contrast": contrast, "content": content}
        return loss, {key: float(value.detach()) for key, value in figures.items()}

    def evaluate(self) -> dict[str, float]:
        """Macro F1 at probability 0.5, severity error where present, and content cosine before and after."""
        predictions: list[Prediction] = []
        before, after = [], []
        for batch in self._held_out:
            views, features, target = self._features(batch)
            prediction = self.guidance.predict(features, views)
            predictions.append(prediction)
            before.append(F.cosine_similarity(features.embedding[:, 0].float(), target.float()))
            after.append(F.cosine_similarity(prediction.content.float(), target.float()))
        severities = torch.cat([batch.severities for batch in self._held_out])
        present = severities > 0
        found = torch.cat([item.probabilities for item in predictions]) > 0.5
        f1 = 2 * (found & present).sum(0) / (found.sum(0) + present.sum(0)).clamp(min=1)
        error = (torch.cat([item.severities for item in predictions]).float() - severities).abs()[present].mean()
        figures = {"macro_f1": float(f1.mean()), "severity_error": float(error)}
        figures |= {"content_before": float(torch.cat(before).mean()), "content_after": float(torch.cat(after).mean())}
        return figures | {f"f1_{kind}": float(value) for kind, value in zip(KINDS, f1, strict=True)}

    def sample(self, folder: Path, step: int) -> None:
        """Nothing to look at beyond the figures."""

    def save(self, folder: Path) -> None:
        """Write the predictor."""
        ModelFolder(folder).save_part(self.guidance.config, "predictor", self.module)

    def _make(self, photos: list[Photo], generator: torch.Generator, count: int) -> PredictorBatch:
        chosen = torch.randint(len(photos), (count,), generator=generator).tolist()
        side = REGION_PX[int(torch.randint(len(REGION_PX), (1,), generator=generator))]
        crops = [crop_photo(photos[index], side, generator, max_shrink=2.0) for index in chosen]
        clean = torch.stack(crops).to(self.device).float() / 255
        severities = sample_severities(count, generator=generator, identity_probability=_CLEAN, device=self.device)
        damaged = degrade_mixture(clean, severities, generator=generator).image
        phone = (torch.rand(count, generator=generator) < 0.15).float()
        damaged = camera_chain(damaged, generator=generator, strength=0.4 * phone).clamp(0, 1)
        return PredictorBatch((damaged * 255).round() / 255, clean, severities)

    @torch.no_grad()
    def _features(self, batch: PredictorBatch) -> tuple[torch.Tensor, ImageFeatures, torch.Tensor]:
        enabled = self.device.type == "cuda" or torch.is_autocast_enabled(self.device.type)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            views = self.guidance.views(batch.damaged, native=_TRAINING_CROPS)
            features = self.guidance.look(views)
            target = self.guidance.look(self.guidance.views(batch.clean, native=0)).embedding[:, 0]
        return views, features, target


def supervised_contrast(embedding: torch.Tensor, labels: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """Supervised contrastive loss ("Supervised Contrastive Learning", arXiv 2004.11362) for label sets.

    Two samples are positives to the degree their label sets overlap (Jaccard index).

    Args:
        embedding: (B, E).
        labels: (B, K) of 0 and 1.
        temperature: Of the softmax.
    """
    unit = F.normalize(embedding, dim=1)
    same = torch.eye(unit.shape[0], dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(same, -1e4)
    shared = labels @ labels.T
    union = labels.sum(1)[:, None] + labels.sum(1)[None] - shared
    positive = (shared / union.clamp(min=1)).masked_fill(same, 0)
    weight = positive.sum(1)
    each = -(positive * logits.log_softmax(1)).sum(1) / weight.clamp(min=1e-6)
    return (each * (weight > 0)).sum() / (weight > 0).sum().clamp(min=1)
