"""Stage one, second part: LoRA makes the embedding of a damaged photo's caption that of the clean photo's caption.

Loss: 1 - cos(E_lora(caption LQ), E_frozen(caption HQ)), the alignment the paper's abstract names.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from model.checkpoint import ModelFolder
from model.errors import ModelError
from model.guidance import Guidance
from model.vlm.lora import MARK, adapter_parameters, encode_adapted_text

Pairs = list[tuple[str, str]]


class AlignmentTask:
    """Trains the text adapters on caption pairs.

    Args:
        guidance: Its vision-language model is trained already.
        pairs: (caption of the damaged photo, caption of the clean photo).
        held_out: Pairs for the figures.
        batch_size: Pairs per step.
    """

    name = "lora"
    progress = 0.0

    def __init__(self, guidance: Guidance, pairs: Pairs, held_out: Pairs, batch_size: int = 128) -> None:
        if not pairs or not held_out:
            raise ModelError(f"got {len(pairs)} pairs and {len(held_out)} held-out pairs, expected some of both")
        self.guidance, self.pairs, self.held_out, self.batch_size = guidance, pairs, held_out, batch_size
        self.module: nn.Module = guidance.vlm
        for parameter in adapter_parameters(guidance.vlm):
            parameter.requires_grad_(True)

    def batch(self, step: int, generator: torch.Generator) -> Pairs:
        """Random pairs."""
        chosen = torch.randint(len(self.pairs), (self.batch_size,), generator=generator).tolist()
        return [self.pairs[index] for index in chosen]

    def count(self, batch: Pairs) -> int:
        """Pairs in a batch."""
        return len(batch)

    def loss(self, batch: Pairs, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Mean of 1 - cosine."""
        low, high = zip(*batch, strict=True)
        with torch.no_grad():
            target = self.guidance.vlm.encode_text(list(high))
        cosine = F.cosine_similarity(encode_adapted_text(self.guidance.vlm, list(low)), target)
        # the frozen embedding of a clean caption must stay where it is, or undamaged photos would drift
        kept = F.cosine_similarity(encode_adapted_text(self.guidance.vlm, list(high)), target)
        loss = (1 - cosine).mean() + 0.5 * (1 - kept).mean()
        return loss, {"cosine": float(cosine.mean().detach())}

    def evaluate(self) -> dict[str, float]:
        """Mean cosine on held-out pairs, with and without the adapters."""
        low, high = zip(*self.held_out, strict=True)
        target = self.guidance.vlm.encode_text(list(high))
        before = F.cosine_similarity(self.guidance.vlm.encode_text(list(low)), target).mean()
        after = F.cosine_similarity(encode_adapted_text(self.guidance.vlm, list(low)), target).mean()
        return {"cosine_before": float(before), "cosine_after": float(after)}

    def sample(self, folder: Path, step: int) -> None:
        """Write held-out pairs as they are."""
        lines = ["damaged\tclean", *("\t".join(pair) for pair in self.held_out[:40])]
        (folder / "held_out_pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write the adapters alone."""
        ModelFolder(folder).save_part(self.guidance.config, "lora", self.guidance.vlm.clip, only=MARK)
