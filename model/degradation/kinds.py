"""The ten kinds of damage, their order in vectors and the words a text tower gets for them."""

from __future__ import annotations

from model.errors import UnknownKindError

KINDS: tuple[str, ...] = (
    "blur",
    "haze",
    "jpeg",
    "low-light",
    "noise",
    "raindrop",
    "rain",
    "shadow",
    "snow",
    "inpainting",
)

# Short phrases in the style of alternative texts, because that is what CLIP-like text towers were trained on.
PROMPTS: dict[str, str] = {
    "blur": "a blurry photo",
    "haze": "a hazy photo taken in fog",
    "jpeg": "a photo with strong jpeg compression artifacts",
    "low-light": "a dark photo taken in low light",
    "noise": "a noisy grainy photo",
    "raindrop": "a photo taken through a window with raindrops",
    "rain": "a photo with rain streaks",
    "shadow": "a photo with a dark shadow over it",
    "snow": "a photo with falling snowflakes",
    "inpainting": "a photo with missing regions",
}

# The way light takes: the scene and the air, then the glass and the lens, then the sensor, then the file, then what
# somebody cut out of the file. `degrade_mixture(order="physical")` goes this way.
PHYSICAL_ORDER: tuple[str, ...] = (
    "shadow",
    "haze",
    "snow",
    "rain",
    "raindrop",
    "blur",
    "low-light",
    "noise",
    "jpeg",
    "inpainting",
)


def kind_index(kind: str) -> int:
    """Return the position of a kind in every vector of kinds.

    Args:
        kind: One of `KINDS`.

    Raises:
        UnknownKindError: For any other word.
    """
    try:
        return KINDS.index(kind)
    except ValueError:
        raise UnknownKindError(f"unknown degradation {kind!r}: use one of {', '.join(KINDS)}") from None
