"""Stage one, first part: the small CoCa, trained with its contrastive and caption losses on captioned photos."""

from __future__ import annotations

from pathlib import Path

import torch
from open_clip.loss import CoCaLoss
from open_clip.transformer import PatchDropout
from torch import nn

from model.checkpoint import ModelFolder
from model.config import ModelConfig
from model.errors import ModelError
from model.train.photos import Photo, crop_photo
from model.vlm.captioner import caption_views
from model.vlm.tokenizer import WordTokenizer
from model.vlm.vision_language import VisionLanguageModel


class VLMTask:
    """Contrastive + caption training of an inline CoCa (arXiv 2205.01917).

    Args:
        config: Model configuration whose `vlm.source` is "inline".
        photos: Captioned photos to learn from.
        held_out: Captioned photos for retrieval figures and sample captions.
        device: Where to train.
        batch_size: Photos per step (also the number of contrastive candidates).
    """

    name = "vlm"
    progress = 0.0

    def __init__(
        self,
        config: ModelConfig,
        photos: list[Photo],
        held_out: list[Photo],
        device: torch.device,
        batch_size: int = 96,
    ) -> None:
        if config.vlm.source != "inline":
            raise ModelError(
                f"{config.name}: its vision-language model is {config.vlm.source}, which needs no training here"
            )
        self.config, self.device = config, device
        self.photos = [photo for photo in photos if photo.captions]
        self.held_out = [photo for photo in held_out if photo.captions]
        if len(self.photos) < batch_size:
            raise ModelError(f"got {len(self.photos)} captioned photos, expected at least the batch size {batch_size}")
        self.batch_size = batch_size
        captions = (caption for photo in self.photos for caption in photo.captions)
        words = WordTokenizer.from_captions(captions, config.vlm.vocab_size, config.vlm.context_length).words
        self.module = VisionLanguageModel(config.vlm, words).to(device)
        # half the patches suffice to learn from and halve the image tower's cost (FLIP, arXiv 2212.00794)
        self.module.clip.visual.patch_dropout = PatchDropout(0.5)
        self._loss = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=1.0, pad_id=0)

    def batch(self, step: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Photos of one epoch's random order without repeats, one random caption each."""
        per_epoch = len(self.photos) // self.batch_size
        order = torch.randperm(len(self.photos), generator=torch.Generator().manual_seed(step // per_epoch))
        first = (step % per_epoch) * self.batch_size
        chosen = [self.photos[index] for index in order[first : first + self.batch_size].tolist()]
        size = self.config.vlm.image_px
        views = torch.stack([crop_photo(photo, size, generator, max_shrink=1.3) for photo in chosen])
        picks = torch.rand(len(chosen), generator=generator).tolist()
        texts = [photo.captions[int(pick * len(photo.captions))] for photo, pick in zip(chosen, picks, strict=True)]
        return views.to(self.device).float() / 255, self.module.tokenizer(texts).to(self.device)

    def count(self, batch: tuple[torch.Tensor, torch.Tensor]) -> int:
        """Images in a batch."""
        return len(batch[0])

    def loss(
        self, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Sum of the contrastive and the caption loss."""
        views, ids = batch
        out = self.module.clip(self.module.normalize(views), ids)
        contrastive, caption = self._loss(
            out["image_features"], out["text_features"], out["logits"], out["labels"], out["logit_scale"].clamp(max=100)
        )
        return contrastive + caption, {"contrastive": float(contrastive.detach()), "caption": float(caption.detach())}

    def evaluate(self) -> dict[str, float]:
        """Retrieval and caption loss on the held-out photos."""
        return measure_retrieval(self.module, self.held_out)

    def sample(self, folder: Path, step: int) -> None:
        """Captions of eight held-out photos, as text."""
        part = self.held_out[:8]
        if part and self.module.has_captions:
            lines = [
                f"{photo.path.name}\t{text}"
                for photo, text in zip(part, caption_views(self.module, square_views(self.module, part)), strict=True)
            ]
            (folder / f"captions_{step:06d}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write vlm.safetensors and the vocabulary."""
        ModelFolder(folder).save_vlm(self.config, self.module)


@torch.inference_mode()
def measure_retrieval(vlm: VisionLanguageModel, photos: list[Photo]) -> dict[str, float]:
    """Recall of the right photo among all given its first caption, and the caption loss (nats per token).

    Args:
        vlm: A CoCa.
        photos: Captioned photos it was not trained on.
    """
    loss = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=1.0, pad_id=0)
    images, texts, losses = [], [], []
    for first in range(0, len(photos), 64):
        part = photos[first : first + 64]
        views = square_views(vlm, part)
        out = vlm.clip(vlm.normalize(views), vlm.tokenizer([photo.captions[0] for photo in part]).to(views.device))
        images.append(out["image_features"])
        texts.append(out["text_features"])
        losses.append(float(loss.caption_loss(out["logits"].permute(0, 2, 1), out["labels"])))
    if not images:
        return {}
    similarity = torch.cat(texts) @ torch.cat(images).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(1)
    return {
        "recall@1": float((rank < 1).float().mean()),
        "recall@10": float((rank < 10).float().mean()),
        "caption_loss": sum(losses) / len(losses),
    }


def square_views(vlm: VisionLanguageModel, photos: list[Photo]) -> torch.Tensor:
    """Whole photos resized to the image tower's square, (N, 3, px, px) in [0, 1] on the model's device."""
    size = vlm.image_px
    crops = [torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / 255 for photo in photos]
    resized = [nn.functional.interpolate(crop, (size, size), mode="bicubic", antialias=True) for crop in crops]
    return torch.cat(resized).clamp(0, 1).to(vlm.get_buffer("mean").device)
