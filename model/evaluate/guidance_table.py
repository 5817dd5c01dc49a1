"""The table of ablations: measured, printed line by line, and as JSON, wherever it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model.degradation.kinds import KINDS
from model.evaluate.ablation import measure_ablations, observe_scenes
from model.pipeline import Restorer

SEVERITY = 0.5
"""Of the damage, unless another one is asked for."""


def measure_table(
    restorer: Restorer,
    paths: Sequence[Path],
    echo: Callable[[str], None],
    kinds: Sequence[str] = KINDS,
    *,
    severity: float = SEVERITY,
    steps: int = 1,
    crop_px: int | None = None,
) -> dict[str, Any]:
    """Measure every ablation and print it; PSNR in dB.

    Args:
        restorer: The model.
        paths: Clean photos, at least two.
        echo: Prints a line.
        kinds: Of damage, the columns.
        severity: Of the damage, 0..1.
        steps: Denoising steps, the same for every row.
        crop_px: See `model.evaluate.damaged.damage_photo`.

    Returns:
        `kinds`, `severity`, `steps`, `photos`, `wrong_captions` (share of the damaged photos for which the wrong
        caption differs from the right one) and `rows`: `name`, `psnr` by kind (empty where it cannot be made), `mean`.

    Raises:
        ModelError: Fewer than two photos, or an unknown kind.
    """
    scenes = observe_scenes(restorer, paths, kinds, severity, crop_px=crop_px)
    echo(f"{'guidance':20s}" + "".join(f"{kind:>11s}" for kind in kinds) + f"{'mean':>11s}")
    rows = []
    for row in measure_ablations(restorer, paths, scenes, steps=steps, crop_px=crop_px):
        cells = [*(row.psnr.get(kind) for kind in kinds), row.mean]
        echo(f"{row.name:20s}" + "".join(f"{'-':>11s}" if cell is None else f"{cell:11.2f}" for cell in cells))
        rows.append({"name": row.name, "psnr": row.psnr, "mean": row.mean})
    seen = [scene for row in scenes.values() for scene in row]
    wrong = sum(scene.other_caption != scene.seen.caption for scene in seen) / len(seen)
    echo(
        f"{len(paths)} photos, severity {severity:g}, {steps} step(s); "
        f"the wrong caption differs from the right one for {wrong:.0%}"
    )
    settings = {"kinds": list(kinds), "severity": severity, "steps": steps, "photos": len(paths)}
    return {**settings, "wrong_captions": wrong, "rows": rows}
