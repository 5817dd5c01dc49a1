"""How a photo is restored without tiles: whole, and with others only if they have the same size.

That is what a diffusers pipeline in a loop does, and what a server with static request batching does. Memory grows with
the photo.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch

from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto
from model.diffusion.context import Context
from model.vlm.views import mirror_to

STATIC_BATCH = 4
"""Photos that static batching waits for."""


@torch.inference_mode()
def restore_whole(runner: Runner, photos: Sequence[DecodedPhoto], steps: int) -> list[int]:
    """Restore whole photos of one size together, in the precision of the service.

    Sides are mirrored up to what the network takes. As in the service, photos are looked at together where that is
    faster, noise is drawn on the device, and the estimate of the last step is the result. The network is called as it
    is: a captured graph for every size of photo would not be kept by anybody who serves photos whole.

    Returns:
        The photos of each call of the network.
    """
    restorer = runner.restorer
    unit = restorer.config.network.stem_factor * 2 ** (len(restorer.config.network.widths) - 1)
    looked_at = restorer.analyze_many([photo.image for photo in photos], [None] * len(photos))
    contexts = [analysis.context for analysis in looked_at]
    context = Context(torch.cat([c.tokens for c in contexts]), torch.cat([c.embedding for c in contexts]))
    image = torch.cat([photo.image for photo in photos]).to(restorer.device)
    height, width = (-(-side // unit) * unit for side in image.shape[2:])
    image = mirror_to(image, height, width)
    restorer.scheduler.set_timesteps(steps)
    times = [*restorer.scheduler.timesteps.tolist(), 0]
    generator = torch.Generator(restorer.device).manual_seed(0)
    noise = torch.randn(image.shape, generator=generator, device=restorer.device)
    state, mask = image + restorer.scheduler.noise_level * noise, torch.zeros_like(image[:, :1])
    half = restorer.device.type == "cuda"
    for now, following in itertools.pairwise(times):
        at = torch.full((len(photos),), now, device=restorer.device)
        with torch.autocast(restorer.device.type, torch.bfloat16, enabled=half):
            estimate = restorer.network(state, image, mask, at, context)
        estimate = estimate.float()
        if following > 0:
            stepped = restorer.scheduler.step(
                estimate.clamp(0, 1), now, state, image, previous_timestep=following, return_dict=False
            )
            state = stepped[0]
    estimate.clamp(0, 1).cpu()  # where a result is wanted
    return [len(photos)] * steps


def group_equals(photos: Sequence[DecodedPhoto], most: int) -> Iterator[list[DecodedPhoto]]:
    """Groups of up to `most` photos of one size."""
    by_size: dict[tuple[int, ...], list[DecodedPhoto]] = {}
    for photo in photos:
        by_size.setdefault(tuple(photo.image.shape), []).append(photo)
    for equals in by_size.values():
        for first in range(0, len(equals), most):
            yield equals[first : first + most]
