"""Figures of stage one on held-out photos: retrieval, captions, caption alignment, degradation predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from model.guidance import Guidance
from model.train.alignment import AlignmentTask
from model.train.captions import caption_pairs
from model.train.photos import load_photos
from model.train.predictor import REGION_PX, PredictorTask
from model.train.vlm import measure_retrieval


@torch.inference_mode()
def measure_guidance(
    guidance: Guidance, captioned: Path, held_out: frozenset[str], photos: list[Path]
) -> dict[str, Any]:
    """Everything stage one is judged by.

    Args:
        guidance: Trained stage one.
        captioned: Folder of captioned photos.
        held_out: File names in it that training left out.
        photos: Folders of photos the predictor never saw.

    Returns:
        recall@10 among the held-out photos, caption cosine before and after LoRA, macro F1, severity error, content
        cosine, and a few captions as they come.
    """
    guidance.eval()
    unseen = load_photos([captioned], only=held_out, min_side=guidance.vlm.image_px)
    retrieval = measure_retrieval(guidance.vlm, unseen)
    pairs = caption_pairs(guidance, unseen[:300], seed=1)
    alignment = AlignmentTask(guidance, pairs, pairs).evaluate()
    clean = load_photos(photos, min_side=max(REGION_PX))
    prediction = PredictorTask(guidance, clean, clean, torch.device("cpu")).evaluate()
    captions = {photo.path.name: pair[1] for photo, pair in list(zip(unseen, pairs, strict=False))[:5]}
    return {**retrieval, **alignment, **prediction, "captions": captions}
