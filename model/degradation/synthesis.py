"""Damage clean photos on purpose: one kind at a severity, mixtures, and the choice for a training batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from model.degradation.blur import blur
from model.degradation.draws import Draws, per_sample
from model.degradation.errors import DegradationError
from model.degradation.haze import haze
from model.degradation.inpainting import punch_holes
from model.degradation.jpeg import jpeg
from model.degradation.kinds import KINDS, PHYSICAL_ORDER, kind_index
from model.degradation.light import low_light, shadow
from model.degradation.noise import noise
from model.degradation.rain import rain, snow
from model.degradation.raindrop import raindrop

_LEAST_SEVERITY = 0.05

_EFFECTS: dict[str, Callable[[Tensor, Tensor, Draws], Tensor]] = {
    "blur": blur,
    "haze": haze,
    "jpeg": jpeg,
    "low-light": low_light,
    "noise": noise,
    "raindrop": raindrop,
    "rain": rain,
    "shadow": shadow,
    "snow": snow,
}


@dataclass(frozen=True)
class Degraded:
    """A batch of damaged photos.

    Attributes:
        image: (B,3,H,W) RGB in [0,1], except that noise may leave the range (an export to uint8 clips it).
        mask: (B,1,H,W), 1 = missing; all zeros unless there are holes.
    """

    image: Tensor
    mask: Tensor


def degrade(
    image: Tensor, kind: str, severity: Tensor | float, *, generator: torch.Generator | None = None
) -> Degraded:
    """Apply one kind of damage to a batch.

    Args:
        image: (B,3,H,W) RGB in [0,1], any floating type, any device.
        kind: One of `model.degradation.kinds.KINDS`.
        severity: 0..1, one number or (B,); 0 returns that image unchanged.
        generator: CPU generator; the same seed gives the same damage. None = torch's default generator.

    Raises:
        UnknownKindError: For an unknown kind.
        DegradationError: For a wrong shape, type or severity.
    """
    kind_index(kind)
    _check_image(image)
    strength = _severities(severity, (image.shape[0],)).to(image.device)
    draws = Draws(image.shape[0], generator, image.device)
    clean = image.float()
    mask = torch.zeros_like(clean[:, :1])
    if image.numel() == 0:
        return Degraded(image, mask)
    if kind == "inpainting":
        damaged, mask = punch_holes(clean, strength, draws)
    else:
        damaged = _EFFECTS[kind](clean, strength, draws)
    damaged = torch.where(per_sample(strength > 0.0, clean), damaged, clean)
    return Degraded(damaged.to(image.dtype), mask)


def degrade_mixture(
    image: Tensor,
    severities: Tensor,
    *,
    generator: torch.Generator | None = None,
    order: Literal["random", "physical"] = "random",
) -> Degraded:
    """Apply each sample's own set of kinds, each kind in one call for all samples that have it.

    Args:
        image: (B,3,H,W) RGB in [0,1].
        severities: (B,10) in the order of `KINDS`; 0 = this kind is absent.
        generator: CPU generator; None = torch's default one.
        order: "random" = one random order of kinds per call; "physical" = `PHYSICAL_ORDER`. Holes always come last,
            so that the mask is exact.

    Raises:
        DegradationError: For a wrong shape, type, severity or order.
    """
    _check_image(image)
    strength = _severities(severities, (image.shape[0], len(KINDS))).cpu()
    if order not in ("random", "physical"):
        raise DegradationError(f"got order {order!r}, expected 'random' or 'physical'")
    sequence = list(PHYSICAL_ORDER)
    # No draw without a choice to make: a single kind gives exactly what `degrade` gives.
    if order == "random" and bool(((strength > 0.0).sum(1) > 1).any()):
        shuffled = torch.randperm(len(KINDS), generator=generator).tolist()
        sequence = [KINDS[i] for i in shuffled if KINDS[i] != "inpainting"] + ["inpainting"]
    damaged = image.clone()
    mask = torch.zeros_like(image[:, :1], dtype=torch.float32)
    for kind in sequence:
        column = strength[:, kind_index(kind)]
        chosen = column.nonzero().flatten()
        if chosen.numel():
            rows = chosen.to(image.device)
            result = degrade(damaged[rows], kind, column[chosen], generator=generator)
            damaged[rows] = result.image
            mask[rows] = torch.maximum(mask[rows], result.mask)
    return Degraded(damaged, mask)


def sample_severities(
    batch: int,
    *,
    generator: torch.Generator | None = None,
    kinds: Sequence[str] = KINDS,
    mixture_probability: float = 0.3,
    max_kinds: int = 3,
    identity_probability: float = 0.05,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Choose what happens to each sample of a training batch.

    The first kind of the samples goes round all kinds before it repeats, so every batch is as balanced as it can be.

    Args:
        batch: Number of samples.
        generator: CPU generator; None = torch's default one.
        kinds: The kinds to choose from; a single one trains a degradation-specific model.
        mixture_probability: Share of samples with two or more kinds.
        max_kinds: Most kinds in one sample.
        identity_probability: Share of samples left clean.
        device: Where the result goes.

    Returns:
        (B,10) severities in the order of `KINDS`: 0 or 0.05..1.

    Raises:
        DegradationError: For no kinds, probabilities outside 0..1 or `max_kinds` below 1.
    """
    columns = torch.tensor([kind_index(kind) for kind in kinds], dtype=torch.long)
    if not columns.numel() or max_kinds < 1 or batch < 0:
        raise DegradationError(f"got {len(kinds)} kinds, max_kinds {max_kinds}, batch {batch}: need 1, 1 and 0 or more")
    for name, value in (("mixture_probability", mixture_probability), ("identity_probability", identity_probability)):
        if not 0.0 <= value <= 1.0:
            raise DegradationError(f"got {name} {value}, expected 0..1")
    draws = Draws(batch, generator, torch.device("cpu"))
    rounds = -(-batch // len(columns)) if batch else 0
    first = [columns[torch.randperm(len(columns), generator=generator)] for _ in range(rounds)]
    values = draws.uniform(_LEAST_SEVERITY, 1.0, len(KINDS))
    # Rank all kinds at random, the first kind on top; take as many as the sample is to have.
    rank = torch.full((batch, len(KINDS)), -1.0)
    rank[:, columns] = draws.uniform(0.0, 1.0, len(columns))
    if batch:
        rank[torch.arange(batch), torch.cat(first)[:batch]] = 2.0
    most = min(max_kinds, len(set(kinds)))  # a kind named twice is still one
    several = 2 + (draws.uniform(0.0, 1.0) * (most - 1)).long().clamp_max(max(most - 2, 0))
    count = torch.where(draws.chance(mixture_probability) & (most > 1), several, 1)
    count = torch.where(draws.chance(identity_probability), 0, count)
    position = rank.argsort(1, descending=True).argsort(1)
    return torch.where(position < count[:, None], values, 0.0).to(device)


def _check_image(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise DegradationError(
            f"got {image.dtype} of shape {tuple(image.shape)}, expected floating point (B,3,H,W) in [0,1]; "
            "a single photo needs a batch dimension: photo[None]"
        )


def _severities(severity: Tensor | float, shape: tuple[int, ...]) -> Tensor:
    values = torch.as_tensor(severity, dtype=torch.float32)
    if values.ndim and values.shape != shape:
        raise DegradationError(f"got severities of shape {tuple(values.shape)}, expected {shape}")
    if not bool(((values >= 0.0) & (values <= 1.0)).all()):
        raise DegradationError(f"got severities from {values.min()} to {values.max()}, expected 0..1")
    return values.expand(shape)
