"""What each part of the guidance is worth: the same photos restored with parts of it taken away, falsified or told.

An ablation changes what stage one saw (`GuidanceFeatures`) or what stage two is given (`Context`), and nothing else:
weights, photo, start noise, steps and hole mask stay. docs/guidance.md says why each is made as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F

from model.degradation.kinds import KINDS, kind_index
from model.degradation.override import move_degradation
from model.degradation.predictor import DegradationPredictor
from model.diffusion.context import Context, GuidanceFeatures
from model.errors import ModelError
from model.evaluate.damaged import damage_photo
from model.pipeline import Analysis, Observation, Restorer
from model.train.photos import read_captions


@dataclass(frozen=True)
class Scene:
    """One damaged photo as an ablation sees it.

    Attributes:
        kind: What was done to it.
        severity: How strongly, 0..1.
        seen: What stage one saw.
        neutral: Mean features of all photos of the run (batch of one).
        other_caption: Caption of another photo with the same damage; None without captions.
        human_caption: From `captions.tsv`; None where there is none.
    """

    kind: str
    severity: float
    seen: Observation
    neutral: GuidanceFeatures
    other_caption: str | None
    human_caption: str | None


Change = Callable[[Restorer, Scene], Context | None]
"""Gives the context of an ablation, or None where it cannot be made."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Of the ablation.
        psnr: Mean PSNR in dB by kind; empty where the ablation cannot be made with these photos and this model.
    """

    name: str
    psnr: dict[str, float]

    @property
    def mean(self) -> float | None:
        """Mean over the kinds."""
        return fmean(self.psnr.values()) if self.psnr else None


def observe_scenes(
    restorer: Restorer,
    paths: Sequence[Path],
    kinds: Sequence[str] = KINDS,
    severity: float = 0.5,
    *,
    crop_px: int | None = None,
) -> dict[str, list[Scene]]:
    """Stage one on every photo with every kind of damage; by kind, in the order of the photos.

    Raises:
        ModelError: Fewer than two photos: there would be no other photo's caption, and the mean would be the photo's.
        UnknownKindError: A kind is none of the ten.
    """
    if len(paths) < 2:
        raise ModelError(f"got {len(paths)} photo, expected at least 2; an ablation needs the captions of other photos")
    seen = {
        kind: [
            restorer.observe(damage_photo(path, kind, severity, index, crop_px=crop_px).image)
            for index, path in enumerate(paths)
        ]
        for kind in kinds
    }
    neutral = mean_features([item.features for row in seen.values() for item in row])
    human = [next(iter(read_captions(path.parent).get(path.name, ())), None) for path in paths]
    return {
        kind: [
            Scene(kind, severity, item, neutral, _other_caption(row, index), human[index])
            for index, item in enumerate(row)
        ]
        for kind, row in seen.items()
    }


def measure_ablations(
    restorer: Restorer,
    paths: Sequence[Path],
    scenes: dict[str, list[Scene]],
    *,
    steps: int = 1,
    crop_px: int | None = None,
) -> Iterator[Row]:
    """Restore every scene under every ablation; one row each, the damaged photos themselves first.

    Args:
        restorer: The model.
        paths: Clean photos, as given to `observe_scenes`.
        scenes: From `observe_scenes`.
        steps: Denoising steps, the same for every row.
        crop_px: As given to `observe_scenes`.
    """
    for name, change in (("damaged", None), *ABLATIONS.items()):
        figures: dict[str, float] = {}
        for kind, row in scenes.items():
            values = []
            for index, (path, scene) in enumerate(zip(paths, row, strict=True)):
                context = None if change is None else change(restorer, scene)
                if change is not None and context is None:
                    break
                damaged = damage_photo(path, kind, scene.severity, index, crop_px=crop_px)
                picture = damaged.image
                if context is not None:
                    analysis = Analysis(scene.seen.caption, scene.seen.findings, context)
                    picture = restorer.restore(
                        picture, steps=steps, seed=index, mask=damaged.mask, analysis=analysis
                    ).image
                values.append(damaged.score(picture))
            if len(values) == len(row):
                figures[kind] = fmean(values)
        yield Row(name, figures if len(figures) == len(scenes) else {})


def mean_features(features: Sequence[GuidanceFeatures]) -> GuidanceFeatures:
    """Mean of the features of several photos (batch of one), e_c brought back to unit length."""
    means = {
        item.name: torch.cat([getattr(one, item.name) for one in features]).float().mean(0, keepdim=True)
        for item in fields(GuidanceFeatures)
    }
    content = F.normalize(means["content"], dim=-1)
    return GuidanceFeatures(**{**means, "content": content, "has_caption": means["has_caption"] > 0.5})


def without_caption(features: GuidanceFeatures) -> GuidanceFeatures:
    """As if there were no caption: the network takes its learned null caption."""
    return replace(
        features, caption=torch.zeros_like(features.caption), has_caption=torch.zeros_like(features.has_caption)
    )


def without_visual(features: GuidanceFeatures, neutral: GuidanceFeatures) -> GuidanceFeatures:
    """Content and patches of no photo in particular."""
    return replace(features, content=neutral.content, patches=neutral.patches)


def without_degradation(features: GuidanceFeatures, neutral: GuidanceFeatures) -> GuidanceFeatures:
    """e_d and severities of no photo in particular."""
    return replace(features, degradation=neutral.degradation, severities=neutral.severities)


def with_true_degradation(
    features: GuidanceFeatures, predictor: DegradationPredictor, kind: str, severity: float
) -> GuidanceFeatures:
    """e_d and severities of a predictor that is right.

    The severities are the truth; e_d is moved the shortest way to where it reads as the truth (`move_degradation`).

    Args:
        features: Of one photo (batch of one).
        predictor: Whose prototypes e_d is read with.
        kind: The true kind.
        severity: The true severity, 0..1.
    """
    degradation = move_degradation(features.degradation, predictor, (kind,))
    severities = torch.zeros_like(features.severities)
    severities[:, kind_index(kind)] = severity
    return replace(features, degradation=degradation, severities=severities)


def with_caption(restorer: Restorer, features: GuidanceFeatures, caption: str) -> GuidanceFeatures:
    """The features with another caption."""
    embedding, known = restorer.guidance.embed_captions([caption])
    return replace(features, caption=embedding, has_caption=known)


def _other_caption(row: Sequence[Observation], index: int) -> str | None:
    """Caption of the next photo, round and round, that differs from this one's; this one's where none does."""
    own = row[index].caption
    others = (row[(index + shift) % len(row)].caption for shift in range(1, len(row)))
    return next((caption for caption in others if caption != own), own)


def _encode(change: Callable[[Restorer, Scene], GuidanceFeatures | None]) -> Change:
    def encode(restorer: Restorer, scene: Scene) -> Context | None:
        with torch.inference_mode():
            features = change(restorer, scene)
            return None if features is None else restorer.network.encode_context(features)

    return encode


def _one_token(restorer: Restorer, scene: Scene) -> Context:
    with torch.inference_mode():
        context = restorer.network.encode_context(scene.seen.features)
    return Context(context.tokens[:, :1], context.embedding)


def _nothing(scene: Scene) -> GuidanceFeatures:
    features = without_visual(without_caption(scene.seen.features), scene.neutral)
    return without_degradation(features, scene.neutral)


def _captioned(restorer: Restorer, scene: Scene, caption: str | None) -> GuidanceFeatures | None:
    return None if caption is None else with_caption(restorer, scene.seen.features, caption)


ABLATIONS: dict[str, Change] = {
    "all": _encode(lambda restorer, scene: scene.seen.features),
    "no linguistic": _encode(lambda restorer, scene: without_caption(scene.seen.features)),
    "no visual": _encode(lambda restorer, scene: without_visual(scene.seen.features, scene.neutral)),
    "no degradation": _encode(lambda restorer, scene: without_degradation(scene.seen.features, scene.neutral)),
    "no guidance": _encode(lambda restorer, scene: _nothing(scene)),
    "one token": _one_token,
    "wrong caption": _encode(lambda restorer, scene: _captioned(restorer, scene, scene.other_caption)),
    "oracle caption": _encode(lambda restorer, scene: _captioned(restorer, scene, scene.human_caption)),
    "oracle degradation": _encode(
        lambda restorer, scene: with_true_degradation(
            scene.seen.features, restorer.guidance.predictor, scene.kind, scene.severity
        )
    ),
}
