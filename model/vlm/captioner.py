"""Greedy caption decoding over CoCa's text tower and decoder.

open_clip's own `CoCa.generate` depends on generation classes that newer transformers releases removed.
"""

from __future__ import annotations

from typing import Any

import torch

from model.vlm.tokenizer import UNKNOWN, WordTokenizer
from model.vlm.vision_language import VisionLanguageModel


@torch.inference_mode()
def caption_views(vlm: VisionLanguageModel, views: torch.Tensor, *, max_tokens: int | None = None) -> list[str]:
    """Describe views (N, 3, image_px, image_px) in [0, 1], one sentence each.

    Greedy: the most likely next word until the end token; a word just written is not repeated at once.

    Args:
        vlm: A model with a caption decoder.
        views: What to describe.
        max_tokens: Longest caption; None means the model's context length.

    Raises:
        ValueError: The model has no caption decoder (a plain CLIP).
    """
    if not vlm.has_captions:
        raise ValueError("this vision-language model has no caption decoder; use a CoCa model or pass a caption")
    clip: Any = vlm.clip
    start, end = _special_ids(vlm.tokenizer)
    never = [0, start, *([UNKNOWN] if isinstance(vlm.tokenizer, WordTokenizer) else [])]  # padding comes first
    _, image_tokens = clip._encode_image(vlm.normalize(views))
    limit = min(max_tokens or clip.context_length, clip.context_length)
    ids = torch.full((views.shape[0], 1), start, dtype=torch.long, device=views.device)
    done = torch.zeros(views.shape[0], dtype=torch.bool, device=views.device)
    for _ in range(limit - 1):
        _, text_tokens = clip._encode_text(ids)
        logits = clip.text_decoder(image_tokens, text_tokens)[:, -1]
        logits[:, never] = -torch.inf
        logits.scatter_(1, ids[:, -1:], -torch.inf)
        following = logits.argmax(-1).masked_fill(done, end)
        ids = torch.cat([ids, following[:, None]], 1)
        done |= following == end
        if bool(done.all()):
            break
    return [_to_text(vlm.tokenizer, row[1:].tolist(), end) for row in ids.cpu()]


def _special_ids(tokenizer: Any) -> tuple[int, int]:
    if hasattr(tokenizer, "start_id"):
        return int(tokenizer.start_id), int(tokenizer.end_id)
    return int(tokenizer.sot_token_id), int(tokenizer.eot_token_id)  # open_clip's byte-pair tokenizer


def _to_text(tokenizer: Any, ids: list[int], end: int) -> str:
    kept = ids[: ids.index(end)] if end in ids else ids
    return str(tokenizer.decode(kept)).strip()
