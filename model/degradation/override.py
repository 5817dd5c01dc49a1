"""What a caller says is wrong with a photo, in the place of what the predictor says.

e_d is not a list of kinds but a vector that is read by its products with the prototypes of the kinds' names (logits),
and it was never trained to be one of them. So e_d is moved the shortest way to where it reads as told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from model.degradation.kinds import KINDS, kind_index
from model.degradation.predictor import DegradationPredictor
from model.diffusion.context import GuidanceFeatures
from model.state import Finding

CERTAIN_LOGIT = 3.0
"""Logit of what is told: a kind that is there has a probability of 0.95 or more, one that is not 0.05 or less."""

TOLD_SEVERITY = 0.25
"""Least severity of a kind that is told to be there: where the predictor saw nothing, its severity says nothing."""


@torch.no_grad()
def move_degradation(
    degradation: torch.Tensor,
    predictor: DegradationPredictor,
    kinds: Collection[str],
    absent: Collection[str] | None = None,
) -> torch.Tensor:
    """Give the nearest e_d that reads as these kinds being there, and those not.

    The named kinds get a logit of at least `CERTAIN_LOGIT`, the absent ones one of at most minus that. A logit is the
    product of e_d with the prototype of a kind's name, so the shortest way there is a sum of prototypes. What e_d says
    beside the ten logits stays, and one that reads as told stays as it was.

    Args:
        degradation: e_d of one photo (1, E).
        predictor: Whose prototypes e_d is read with.
        kinds: Those that are there.
        absent: Those that are not; None means all others.

    Raises:
        UnknownKindError: A kind is none of the ten.
    """
    present, gone = (torch.zeros(len(KINDS), dtype=torch.bool) for _ in range(2))
    for kind in kinds:
        present[kind_index(kind)] = True
    for kind in set(KINDS) - set(kinds) if absent is None else absent:
        gone[kind_index(kind)] = True
    names = F.normalize(predictor.get_buffer("names") + predictor.name_shift, dim=-1).cpu().double()
    scale = float(predictor.log_scale.exp())
    logits = scale * names @ degradation[0].cpu().double() + predictor.bias.cpu().double()
    wanted = torch.where(present, logits.clamp(min=CERTAIN_LOGIT), logits)
    wanted = torch.where(gone, logits.clamp(max=-CERTAIN_LOGIT), wanted)
    shift = torch.linalg.pinv(names) @ ((wanted - logits) / scale)
    return degradation + shift.to(degradation)


def refute_kinds(
    features: GuidanceFeatures, findings: Sequence[Finding], predictor: DegradationPredictor, kinds: Collection[str]
) -> tuple[GuidanceFeatures, tuple[Finding, ...]]:
    """Take back what the predictor said of some kinds that are known not to be there; all else stays.

    Args:
        features: Of one photo (batch of one).
        findings: What the predictor said of it, one per kind in the order of `KINDS`.
        predictor: That predictor.
        kinds: What is not wrong.

    Returns:
        Features that say so, and the findings without these kinds.

    Raises:
        UnknownKindError: A kind is none of the ten.
    """
    degradation = move_degradation(features.degradation, predictor, (), kinds)
    severities = features.severities.clone()
    for kind in kinds:
        severities[:, kind_index(kind)] = 0
    left = tuple(Finding(item.kind, 0.0, 0.0) if item.kind in kinds else item for item in findings)
    return replace(features, degradation=degradation, severities=severities), left


def tell_kinds(
    features: GuidanceFeatures, findings: Sequence[Finding], predictor: DegradationPredictor, kinds: Collection[str]
) -> tuple[GuidanceFeatures, tuple[Finding, ...]]:
    """Put what a caller says in the place of what the predictor found.

    The named kinds count as there for sure, each as severe as the predictor thought, at least `TOLD_SEVERITY`; all
    other kinds count as not there.

    Args:
        features: Of one photo (batch of one).
        findings: What the predictor said of it, one per kind in the order of `KINDS`.
        predictor: That predictor.
        kinds: What is wrong; none means that nothing is.

    Returns:
        Features that say so, and findings that report what was told.

    Raises:
        UnknownKindError: A kind is none of the ten.
    """
    degradation = move_degradation(features.degradation, predictor, kinds)
    told = tuple(
        Finding(item.kind, 1.0, max(item.severity, TOLD_SEVERITY))
        if item.kind in kinds
        else Finding(item.kind, 0.0, 0.0)
        for item in findings
    )
    severities = torch.zeros_like(features.severities)
    for item in told:
        severities[:, KINDS.index(item.kind)] = item.severity
    return replace(features, degradation=degradation, severities=severities), told
