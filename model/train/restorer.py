"""Stage two: the restoration network, trained to predict the clean photo from any state of the bridge.

Most of a batch starts at t = T, as inference does. The rest lies at earlier times, a quarter of it on the true bridge
and the others on a bridge built from the network's own first estimate: at inference the network sees its own
estimates, and one trained on true states alone trusts their errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from model.checkpoint import ModelFolder
from model.degradation.camera import camera_chain
from model.degradation.kinds import KINDS
from model.degradation.noise import add_gaussian_noise
from model.degradation.synthesis import degrade, degrade_mixture, sample_severities
from model.diffusion.context import Context, GuidanceFeatures
from model.diffusion.losses import gradient_error, log_mean_squared_error
from model.errors import ModelError
from model.guidance import Guidance
from model.pipeline import build_network, build_scheduler
from model.train.captions import caption_table
from model.train.photos import Photo, crop_photo
from model.train.pictures import save_grid

# (share of the run, patch side as a share of the tile, batch size): small patches and many steps first; the last
# ones have the tile's size, because channel attention averages over the whole input
PHASES = ((0.6, 0.5, 6), (0.85, 0.75, 3), (1.0, 1.0, 2))
_HOLE_FILL = 0.5


@dataclass(frozen=True)
class RestorerBatch:
    """Damaged and clean regions with the patch inside them that is trained on.

    Attributes:
        damaged: (B, 3, R, R), what stage one looks at.
        degraded: (B, 3, P, P) the patch of it, holes filled where the mask is given.
        clean: (B, 3, P, P).
        mask: (B, 1, P, P), zeros where no mask is given.
        caption: (B, E).
        has_caption: (B,) bool.
        noise: (B, 3, P, P) standard normal.
        timestep: (B,) 1..T.
        own: (B,) bool, whether x_t is built from the network's own estimate.
    """

    damaged: torch.Tensor
    degraded: torch.Tensor
    clean: torch.Tensor
    mask: torch.Tensor
    caption: torch.Tensor
    has_caption: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor
    own: torch.Tensor


class RestorerTask:
    """Trains the restoration network with stage one frozen.

    Args:
        guidance: Trained stage one.
        photos: Clean photos; some must have 9/8 of the tile size on both sides, smaller ones serve the earlier phases.
        held_out: Photos for figures and pictures.
        device: Where to train.
        kinds: Degradations to learn; all ten make the universal model.
        scale: Multiplies the batch sizes of the phases.
        seed: Of the captions' damage.
    """

    name = "restorer"
    progress = 0.0

    def __init__(
        self,
        guidance: Guidance,
        photos: list[Photo],
        held_out: list[Photo],
        device: torch.device,
        kinds: Sequence[str] = KINDS,
        scale: int = 1,
        seed: int = 0,
    ) -> None:
        self.config, self.device, self.kinds, self.scale = guidance.config, device, tuple(kinds), scale
        self.guidance = guidance.to(device).eval().requires_grad_(False)
        tile = self.config.tile_px
        self._margin = tile // 8  # stage one sees a little more than the patch
        self.photos = photos
        self.held_out = [photo for photo in held_out if min(photo.pixels.shape[:2]) >= tile][:8]
        areas = torch.tensor([float(photo.pixels.shape[0] * photo.pixels.shape[1]) for photo in photos])
        self._weights = areas**0.75  # large photos hold more to learn from, small ones are more varied
        self._short_sides = torch.tensor([min(photo.pixels.shape[:2]) for photo in photos])
        if not self.held_out or not bool((self._short_sides >= tile + self._margin).any()):
            raise ModelError(
                f"got {len(photos)} photos to learn from, {len(self.held_out)} large enough to measure with; expected "
                f"some of at least {tile + self._margin} px; add larger photos to --data"
            )
        self.scheduler = build_scheduler(self.config)
        network = build_network(self.config).to(device)
        self.network = network
        self.module: nn.Module = network
        self._captions = caption_table(self.guidance, photos, seed)

    def batch(self, step: int, generator: torch.Generator) -> RestorerBatch:
        """Random regions with random damage, at random times."""
        part, count = next((side, size) for share, side, size in PHASES if self.progress <= share)
        patch, count = int(part * self.config.tile_px), count * self.scale
        region, offset = patch + self._margin, self._margin // 2
        weights = self._weights * (self._short_sides >= region)
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
        crops = [crop_photo(self.photos[index], region, generator, max_shrink=2.0) for index in chosen]
        clean = torch.stack(crops).to(self.device).float() / 255
        severities = sample_severities(count, generator=generator, kinds=self.kinds, mixture_probability=0.2)
        result = degrade_mixture(clean, severities, generator=generator)
        damaged = result.image
        draws = torch.rand(5, count, generator=generator)
        phone = (draws[0] < 0.1).float()
        if bool(phone.any()):
            damaged = camera_chain(damaged, generator=generator, strength=0.3 * phone)
        stored = (draws[1] < 0.3).to(self.device)[:, None, None, None]  # what an 8-bit file keeps of it
        damaged = torch.where(stored, (damaged.clamp(0, 1) * 255).round() / 255, damaged)
        known = (draws[2] < 0.5).to(self.device)[:, None, None, None]
        mask = result.mask * known
        window = (..., slice(offset, offset + patch), slice(offset, offset + patch))
        pick = torch.randint(2, (count,), generator=generator)
        times = torch.randint(1, self.config.diffusion.timesteps, (count,), generator=generator)
        start = torch.arange(count) < max(1, round(0.6 * count))
        return RestorerBatch(
            damaged=damaged,
            degraded=torch.where(mask > 0, torch.full_like(mask, _HOLE_FILL), damaged)[window],
            clean=clean[window],
            mask=mask[window],
            caption=self._captions[chosen, pick].to(self.device),
            has_caption=(draws[3] >= 0.15).to(self.device),
            noise=torch.randn(count, 3, patch, patch, generator=generator).to(self.device),
            timestep=torch.where(start, self.config.diffusion.timesteps, times),
            own=~start & (draws[4] < 0.75),
        )

    def loss(self, batch: RestorerBatch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Log of the squared error of x0_hat, and a little of its gradients' error."""
        context = self.network.encode_context(self._features(batch))
        base = batch.clean
        if bool(batch.own.any()):
            rows = batch.own.nonzero().flatten().to(self.device)
            with torch.no_grad():
                start = self._start(batch.degraded[rows], batch.noise[rows])
                times = torch.full((len(rows),), self.config.diffusion.timesteps, device=self.device)
                part = Context(context.tokens[rows], context.embedding[rows])
                guess = self.network(start, batch.degraded[rows], batch.mask[rows], times, part)
            base = base.clone()
            base[rows] = guess.float().clamp(0, 1)
        noisy = self.scheduler.add_noise(base, batch.noise, batch.timestep, batch.degraded)
        estimate = self.network(noisy, batch.degraded, batch.mask, batch.timestep.to(self.device), context)
        error, edges = log_mean_squared_error(estimate, batch.clean), gradient_error(estimate, batch.clean)
        psnr = -10 * (estimate.detach().float() - batch.clean).square().flatten(1).mean(1).clamp(min=1e-6).log10()
        return error + 0.5 * edges, {"psnr": float(psnr.mean()), "edges": float(edges.detach())}

    def evaluate(self) -> dict[str, float]:
        """One-step PSNR (dB) of held-out centre crops: every kind at severity 0.5, noise sigma 25, clean photos."""
        clean = self._centre_crops()
        figures = {}
        for name, damaged in self._cases(clean).items():
            estimate = self._restore(damaged, steps=1)
            error = (estimate - clean).square().flatten(1).mean(1).clamp(min=1e-6)
            figures[f"psnr_{name}"] = float((-10 * error.log10()).mean())
        return figures

    def sample(self, folder: Path, step: int) -> None:
        """A sheet of damaged, restored (1 and 4 steps) and clean crops, one row per kind."""
        clean = self._centre_crops()[:1]
        rows = []
        for damaged in self._cases(clean).values():
            rows += [damaged.clamp(0, 1), self._restore(damaged, 1), self._restore(damaged, 4), clean]
        save_grid(torch.cat(rows), 8, folder / f"samples_{step:06d}.jpg")

    def save(self, folder: Path) -> None:
        """Write the network."""
        ModelFolder(folder).save_part(self.config, "restorer", self.network)

    def _start(self, degraded: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return degraded + self.scheduler.noise_level * noise

    @torch.no_grad()
    def _features(self, batch: RestorerBatch) -> GuidanceFeatures:
        views = self.guidance.views(batch.damaged, native=1)
        features = self.guidance.look(views)
        prediction = self.guidance.predict(features, views)
        caption = batch.caption * batch.has_caption[:, None]
        return self.guidance.assemble(features, prediction, caption, batch.has_caption)

    def _restore(self, damaged: torch.Tensor, steps: int) -> torch.Tensor:
        views = self.guidance.views(damaged)
        features = self.guidance.look(views)
        embedded, known = self.guidance.embed_captions(self.guidance.describe(views))
        context = self.network.encode_context(
            self.guidance.assemble(features, self.guidance.predict(features, views), embedded, known)
        )
        noise = torch.randn(damaged.shape, generator=torch.Generator().manual_seed(1)).to(self.device)
        state, mask = self._start(damaged, noise), torch.zeros_like(damaged[:, :1])
        self.scheduler.set_timesteps(steps)
        grid = [*self.scheduler.timesteps.tolist(), 0]
        for now, following in itertools.pairwise(grid):
            times = torch.full((damaged.shape[0],), now, device=self.device)
            estimate = self.network(state, damaged, mask, times, context).clamp(0, 1)
            state = self.scheduler.step(estimate, now, state, damaged, previous_timestep=following, return_dict=False)[
                0
            ]
        return state

    def _centre_crops(self) -> torch.Tensor:
        crops = []
        for photo in self.held_out:
            top, left = ((side - self.config.tile_px) // 2 for side in photo.pixels.shape[:2])
            window = photo.pixels[top : top + self.config.tile_px, left : left + self.config.tile_px]
            crops.append(torch.from_numpy(window.copy()).permute(2, 0, 1))
        return torch.stack(crops).to(self.device).float() / 255

    def _cases(self, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        cases = {
            kind: degrade(clean, kind, 0.5, generator=torch.Generator().manual_seed(7)).image for kind in self.kinds
        }
        cases["sigma25"] = add_gaussian_noise(clean, 25.0, torch.Generator().manual_seed(7))
        cases["clean"] = clean
        return cases
