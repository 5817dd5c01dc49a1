"""Stage one for photos of any sizes: what each shows and what is wrong with it.

All views have one size, so photos of all sizes can be looked at together. On a CPU that saves nothing, and each photo
goes alone. On CUDA, where writing a caption word by word is hundreds of tiny kernels, groups have ONE size, filled up
with copies: the arithmetic of a row then does not depend on how many others came with it, and no caption does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from model.budget import is_found
from model.checks import check_image
from model.degradation.holes import locate_holes
from model.degradation.kinds import KINDS
from model.degradation.override import refute_kinds, tell_kinds
from model.diffusion.context import GuidanceFeatures
from model.guidance import Guidance
from model.state import Finding

CUDA_GROUP = 8
"""Photos that are looked at together on CUDA."""


@dataclass(frozen=True)
class Observation:
    """What stage one saw in one photo, before stage two's context encoder.

    Attributes:
        caption: What it shows, given or found; None without a caption decoder.
        findings: One per kind, in the order of `KINDS`.
        features: What the context is made from (batch of one).
        holes: (1, 1, H, W) bool where pixels look missing; None where nobody has looked.
    """

    caption: str | None
    findings: tuple[Finding, ...]
    features: GuidanceFeatures
    holes: torch.Tensor | None = None


@torch.inference_mode()
def observe_photos(
    guidance: Guidance,
    images: Sequence[torch.Tensor],
    captions: Sequence[str | None],
    device: torch.device,
    group: int | None = None,
    kinds: Sequence[Collection[str] | None] | None = None,
) -> Iterator[Observation]:
    """Look at photos; one observation each, in order.

    Args:
        guidance: Stage one, on the device.
        images: (1, 3, H, W) in [0, 1], each of its own size.
        captions: What each photo shows, if the caller knows better; None writes a caption.
        device: Where stage one is.
        group: Photos looked at together; None takes `CUDA_GROUP` on CUDA and 1 elsewhere.
        kinds: What is wrong with each photo, if the caller knows better (see `tell_kinds`); None for a photo, or for
            all of them, leaves it to the predictor.

    Raises:
        UnknownKindError: A kind is none of the ten.
    """
    size = group or (CUDA_GROUP if device.type == "cuda" else 1)
    for first in range(0, len(images), size):
        part = slice(first, first + size)
        told = [None] * len(images[part]) if kinds is None else kinds[part]
        seen = _observe_group(guidance, images[part], captions[part], device, size)
        for image, observation, named in zip(images[part], seen, told, strict=True):
            yield _doubted(guidance, observation, image) if named is None else _told(guidance, observation, named)


def _observe_group(
    guidance: Guidance, images: Sequence[torch.Tensor], captions: Sequence[str | None], device: torch.device, size: int
) -> Iterator[Observation]:
    for image in images:
        check_image(image, batch=1)
    views = torch.cat([guidance.views(image.to(device).float()) for image in images])
    views = torch.cat([views, views[-1:].expand(size - len(images), *views.shape[1:])])
    given = [*captions, *([captions[-1]] * (size - len(images)))]
    features = guidance.look(views)
    prediction = guidance.predict(features, views)
    if None in given:
        written = guidance.describe(views)
        given = [mine if mine is not None else found for mine, found in zip(given, written, strict=True)]
    embedded, known = guidance.embed_captions(given)
    assembled = guidance.assemble(features, prediction, embedded, known)
    probabilities, severities = prediction.probabilities.tolist(), prediction.severities.tolist()
    for row in range(len(images)):
        found = zip(KINDS, probabilities[row], severities[row], strict=True)
        findings = tuple(Finding(*item) for item in found)
        yield Observation(given[row], findings, assembled.select(torch.tensor([row], device=device)))


def _told(guidance: Guidance, seen: Observation, kinds: Collection[str]) -> Observation:
    features, findings = tell_kinds(seen.features, seen.findings, guidance.predictor, kinds)
    return Observation(seen.caption, findings, features)


def _doubted(guidance: Guidance, seen: Observation, image: torch.Tensor) -> Observation:
    """Take back what is too unsure for what a false alarm costs, and holes that are not to be seen.

    A hole is a sharp-edged patch of one value, which can be looked for in the pixels themselves. The predictor takes
    bright even skies for holes, and a network that is told of holes repaints them.
    """
    least = guidance.config.least_probability
    absent = {item.kind for item in seen.findings if item.probability < least.get(item.kind, 0.0)}
    holes = None
    if "inpainting" not in absent and any(item.kind == "inpainting" and is_found(item) for item in seen.findings):
        holes = locate_holes(image.cpu())
        if holes is None:
            absent.add("inpainting")
    if not absent:
        return replace(seen, holes=holes)
    features, findings = refute_kinds(seen.features, seen.findings, guidance.predictor, absent)
    return Observation(seen.caption, findings, features, holes)
