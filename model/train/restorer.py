"""Stage two: the restoration network, trained to predict the clean photo from any state of the bridge.

Most of a batch starts at t = T, as inference does. The rest lies at earlier times, a quarter of it on the true bridge
and the others where a jump from the network's own first estimate leads: at inference the network sees its own
estimates, and one trained on true states alone trusts their errors.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from model.checkpoint import ModelFolder
from model.config import JPEG_BLOCK, ModelConfig
from model.degradation.kinds import KINDS
from model.degradation.noise import add_gaussian_noise
from model.degradation.synthesis import degrade
from model.diffusion.context import Context, GuidanceFeatures
from model.diffusion.losses import gradient_error, log_mean_squared_error
from model.errors import ModelError
from model.guidance import Guidance
from model.pipeline import build_network, build_scheduler
from model.train.captions import caption_table
from model.train.photos import Photo
from model.train.pictures import save_grid
from model.train.regions import Region, RegionMaker, stack_features

# Universal models see noise three times and JPEG four times as often: the commonest damage, where single-task networks
# are strongest.
EMPHASIS = ("noise", "noise", "jpeg", "jpeg", "jpeg")


@dataclass(frozen=True)
class Phase:
    """A part of the run: small patches and many steps first, patches of the tile's size last.

    Channel attention averages over the whole input, so the last patches must have the size of a tile.

    Attributes:
        until: Share of the run at which it ends.
        patch: Patch side as a share of the tile.
        region: Region side as a share of the tile.
        batch: Patches per step.
        fresh: New regions per step; the other patches come from regions seen before.
        early: Share of the batch at times below T.
        focus: Only the kinds of `EMPHASIS`, in a universal model trained from nothing: slight damage is not noticed
            beside nine other kinds by a network that has never seen it alone.
    """

    until: float
    patch: float
    region: float
    batch: int
    fresh: int
    early: float
    focus: bool = False


PHASES = (
    Phase(0.1, 0.25, 0.625, 16, 3, 0.1, focus=True),
    Phase(0.6, 0.25, 0.625, 16, 3, 0.15),
    Phase(0.85, 0.375, 0.625, 8, 3, 0.15),
    Phase(0.96, 0.5, 0.625, 6, 3, 0.2),
    Phase(1.0, 1.0, 1.125, 2, 1, 0.2),
)
# Noise alone, two cores, eight Kodak crops at sigma 25: 28.32 dB after 100 s with 1e-3, 29.03 with 2e-3, and 28.62
# after 60 s with 4e-3; 3e-3 lies between the two good ones and was not compared alone.
LEARNING_RATE = 3e-3
_POOL = 48
_ALIGNED = 0.8


@dataclass(frozen=True)
class RestorerBatch:
    """Patches with the features of the regions they were cut from.

    Attributes:
        degraded: (B, 3, P, P), holes filled where the mask is given.
        clean: (B, 3, P, P).
        mask: (B, 1, P, P), zeros where no mask is given.
        features: Of the B regions.
        noise: (B, 3, P, P) standard normal.
        timestep: (B,) 1..T.
        own: (B,) bool, whether x_t is built from the network's own estimate.
    """

    degraded: torch.Tensor
    clean: torch.Tensor
    mask: torch.Tensor
    features: GuidanceFeatures
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
        half: Write the captions in bfloat16.
        config: Of the network, where it differs from the guidance's (`model.train.variants`).
        regions: Made before for the same photos; None looks at the photos and writes their captions.
        start_from: Folder whose restorer is trained further; None trains from nothing.
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
        *,
        half: bool = False,
        config: ModelConfig | None = None,
        regions: RegionMaker | None = None,
        start_from: ModelFolder | None = None,
    ) -> None:
        self.config, self.device, self.kinds, self.scale = config or guidance.config, device, tuple(kinds), scale
        self.guidance = guidance.to(device).eval().requires_grad_(False)
        tile = self.config.tile_px
        self.photos = photos
        self.held_out = [photo for photo in held_out if min(photo.pixels.shape[:2]) >= tile][:8]
        self._pool: list[Region] = []
        self._pool_lock = threading.Lock()  # on a GPU batches are made in several threads
        short_sides = torch.tensor([min(photo.pixels.shape[:2]) for photo in photos])
        if not self.held_out or not bool((short_sides >= self._region_px(PHASES[-1])).any()):
            raise ModelError(
                f"got {len(photos)} photos to learn from, {len(self.held_out)} large enough to measure with; expected "
                f"some of at least {self._region_px(PHASES[-1])} px; add larger photos to --data"
            )
        sizes = self.config.network
        self._unit = sizes.stem_factor * 2 ** (len(sizes.widths) - 1)
        if min(self._patch_px(phase) for phase in PHASES) < self._unit:
            raise ModelError(
                f"tile_px {tile}: the smallest patches would be {int(min(phase.patch for phase in PHASES) * tile)} px, "
                f"this network needs {self._unit}; choose tile_px as {4 * self._unit} or more"
            )
        self.scheduler = build_scheduler(self.config)
        network = build_network(self.config).to(device)
        if start_from is not None:
            start_from.load_part("restorer", network)
        self._is_new = start_from is None
        self.network = network
        self.module: nn.Module = network
        self.regions = regions or RegionMaker(
            self.guidance, photos, caption_table(self.guidance, photos, seed, half=half), device
        )

    def batch(self, step: int, generator: torch.Generator) -> RestorerBatch:
        """Random patches of random regions, at random times."""
        phase = next(phase for phase in PHASES if self.progress <= phase.until)
        patch, count, side = self._patch_px(phase), phase.batch * self.scale, self._region_px(phase)
        fresh = min(count, phase.fresh * self.scale) if self._pool else count
        pool = [region for region in self._pool if region.clean.shape[-1] == side]
        new = self.regions.make(count if len(pool) < count - fresh else fresh, side, generator, self._mixed(phase))
        old = torch.randperm(len(pool), generator=generator)[: count - len(new)].tolist()
        regions = new + [pool[index] for index in old]
        with self._pool_lock:
            kept = [region for region in self._pool if region.clean.shape[-1] == side]
            self._pool = (kept + new)[-_POOL * self.scale :]
        places = self._places(count, side - patch, generator)
        cuts = [(..., slice(top, top + patch), slice(left, left + patch)) for top, left in places]
        times = torch.randint(1, self.config.diffusion.timesteps, (count,), generator=generator)
        early = torch.rand(count, generator=generator) < phase.early
        return RestorerBatch(
            degraded=torch.stack([region.degraded[cut] for region, cut in zip(regions, cuts, strict=True)]),
            clean=torch.stack([region.clean[cut] for region, cut in zip(regions, cuts, strict=True)]),
            mask=torch.stack([region.mask[cut] for region, cut in zip(regions, cuts, strict=True)]),
            features=stack_features([region.features for region in regions]),
            noise=torch.randn(count, 3, patch, patch, generator=generator).to(self.device),
            timestep=torch.where(early, times, self.config.diffusion.timesteps),
            own=early & (torch.rand(count, generator=generator) < 0.75),
        )

    def count(self, batch: RestorerBatch) -> int:
        """Images in a batch."""
        return len(batch.clean)

    def loss(self, batch: RestorerBatch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Log of the squared error of x0_hat, and a little of its gradients' error."""
        context = self.network.encode_context(batch.features)
        noisy = self.scheduler.add_noise(batch.clean, batch.noise, batch.timestep, batch.degraded)
        if bool(batch.own.any()):
            rows = batch.own.nonzero().flatten().to(self.device)
            with torch.no_grad():
                start = self._start(batch.degraded[rows], batch.noise[rows])
                times = torch.full((len(rows),), self.config.diffusion.timesteps, device=self.device)
                part = Context(context.tokens[rows], context.embedding[rows])
                guess = self.network(start, batch.degraded[rows], batch.mask[rows], times, part)
                noisy[rows] = self.scheduler.step(
                    guess.float().clamp(0, 1),
                    self.config.diffusion.timesteps,
                    start,
                    batch.degraded[rows],
                    previous_timestep=batch.timestep[batch.own],
                    noise=batch.noise[rows],
                    return_dict=False,
                )[0]
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

    def _mixed(self, phase: Phase) -> tuple[str, ...]:
        if set(self.kinds) != set(KINDS):
            return self.kinds
        return EMPHASIS if phase.focus and self._is_new else (*self.kinds, *EMPHASIS)

    @staticmethod
    def _places(count: int, room: int, generator: torch.Generator) -> list[list[int]]:
        """Corners of patches, most of them on the 8 px grid of JPEG blocks, where the pipeline's tiles lie too."""
        places = (torch.rand(count, 2, generator=generator) * (room + 1)).long()
        aligned = torch.rand(count, 1, generator=generator) < _ALIGNED
        return torch.where(aligned, places // JPEG_BLOCK * JPEG_BLOCK, places).tolist()

    def _patch_px(self, phase: Phase) -> int:
        """Side of the patches: the nearest multiple of what the network halves, downwards."""
        return int(phase.patch * self.config.tile_px) // self._unit * self._unit

    def _region_px(self, phase: Phase) -> int:
        return int(phase.region * self.config.tile_px)

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
