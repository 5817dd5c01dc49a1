"""How many denoising steps a photo gets: what its quality says, by the damage that was found in it.

Kinds of damage differ in what they gain from more steps. So a configuration may give, per quality, a number of steps
for some kinds (`ModelConfig.steps_by_kind`); `vlmir eval budget` prints the table to choose them by.
"""

from __future__ import annotations

from collections.abc import Iterable

from model.config import QUALITIES, ModelConfig
from model.degradation.kinds import KINDS
from model.errors import ConfigError
from model.state import Finding

LEAST_PROBABILITY = 0.5
"""A kind counts as found from here on."""

LEAST_SEVERITY = 0.1
"""Milder damage is no reason for more steps, or to look for holes: the photo is close to clean already."""


def check_budget(config: ModelConfig) -> None:
    """Refuse a configuration whose `steps_by_kind` or `least_probability` names kinds that do not exist.

    Raises:
        ConfigError: It does.
    """
    unknown = {kind for budget in config.steps_by_kind.values() for kind in budget} - set(KINDS)
    if unknown:
        raise ConfigError(f"steps_by_kind: unknown kinds {sorted(unknown)}; expected some of {', '.join(KINDS)}")
    if unknown := set(config.least_probability) - set(KINDS):
        raise ConfigError(f"least_probability: unknown kinds {sorted(unknown)}; expected some of {', '.join(KINDS)}")


def get_steps(config: ModelConfig, quality: str) -> int:
    """Denoising steps of a quality where the findings do not decide.

    Raises:
        ConfigError: The quality is none of `QUALITIES`.
    """
    if quality not in config.steps:
        raise ConfigError(f"quality {quality!r}: expected one of {', '.join(QUALITIES)}")
    return config.steps[quality]


def is_found(finding: Finding) -> bool:
    """Whether a kind is so likely and so strong that it decides the steps, or makes the pipeline look for holes."""
    return finding.probability >= LEAST_PROBABILITY and finding.severity >= LEAST_SEVERITY


def choose_steps(config: ModelConfig, quality: str, findings: Iterable[Finding], *, has_holes: bool = False) -> int:
    """Denoising steps of one photo.

    The largest number among the kinds that were found. A kind without a number of its own, and a photo in which nothing
    was found, count with the quality's plain number.

    Args:
        config: Of the model.
        quality: "fast", "balanced" or "best".
        findings: What the predictor says of the photo.
        has_holes: The caller gave a mask, so holes are there whatever the predictor says.

    Raises:
        ConfigError: The quality is none of `QUALITIES`.
    """
    usual = get_steps(config, quality)
    by_kind = config.steps_by_kind.get(quality, {})
    found = {item.kind for item in findings if is_found(item)}
    if has_holes:
        found.add("inpainting")
    return max((by_kind.get(kind, usual) for kind in found), default=usual)
