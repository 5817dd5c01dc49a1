"""The full-size state of one restoration between denoising steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.diffusion.context import Context
from model.diffusion.noise import pixel_noise
from model.strips import strips
from model.tiling import TileGrid, taper, weight_sums


@dataclass(frozen=True)
class Finding:
    """One kind of damage: probability that it is there, and how bad it is if so (both 0..1)."""

    kind: str
    probability: float
    severity: float


@dataclass(frozen=True)
class Analysis:
    """What stage one found out about one photo.

    Attributes:
        caption: What the photo shows; None without a caption decoder.
        findings: One per kind, in the order of `KINDS`.
        context: What the network is given (batch of one).
        holes: (1, 1, H, W) bool where pixels look missing; None where nobody has looked.
    """

    caption: str | None
    findings: tuple[Finding, ...]
    context: Context
    holes: torch.Tensor | None = None


class RestorationState:
    """One photo on its way from x_T to x_0.

    Args:
        degraded: LQ (3, H, W) float32, at least a tile in both directions.
        noise_level: Standard deviation of the noise in x_T.
        mask: (1, H, W), 1 = missing; None when nothing is known to be missing.
        analysis: Of this photo.
        grid: Its tiles.
        timesteps: Times at which the network runs, falling.
        size: (height, width) of the photo before it was extended.
        seed: Of its noise.
        overlap_px: Width of the blending ramps.
    """

    def __init__(
        self,
        degraded: torch.Tensor,
        noise_level: float,
        mask: torch.Tensor | None,
        analysis: Analysis,
        grid: TileGrid,
        timesteps: tuple[int, ...],
        size: tuple[int, int],
        seed: int,
        overlap_px: int,
    ) -> None:
        self.degraded, self.mask = degraded, mask
        self._noisy, self._noise_level, self._drawn_rows = torch.empty_like(degraded), noise_level, 0
        self.analysis, self.grid, self.timesteps, self.size, self.seed = analysis, grid, timesteps, size, seed
        self.step = 0
        # on the device once and for all: a copy per batch would make the host wait for the device
        self._times = torch.tensor(timesteps, device=degraded.device)
        self.estimate = torch.zeros_like(degraded)  # sum of weighted tile predictions, then x0_hat
        self.missing = set(range(len(grid)))
        self._unchecked: list[tuple[int, torch.Tensor]] = []  # tiles that may not be finite, and whether they are
        self.stepped_rows = 0  # rows of `noisy` that belong to the next step already
        self._is_normalized = False
        side = taper(grid.tile_px, overlap_px)
        self.window = (side[:, None] * side[None, :]).to(degraded.device)
        self._row_sums = weight_sums(grid.tops, degraded.shape[1], side).to(degraded.device)
        self._column_sums = weight_sums(grid.lefts, degraded.shape[2], side).to(degraded.device)

    @property
    def tiles(self) -> int:
        """Tiles per step."""
        return len(self.grid)

    @property
    def steps(self) -> int:
        """Denoising steps in all."""
        return len(self.timesteps)

    @property
    def is_done(self) -> bool:
        """Whether every step was finished."""
        return self.step == self.steps

    @property
    def state_bytes(self) -> int:
        """Memory the state holds, in bytes."""
        held = [self.degraded, self._noisy, self.estimate, *([] if self.mask is None else [self.mask])]
        return sum(tensor.nbytes for tensor in held)

    @property
    def timestep(self) -> int:
        """Time of the present step.

        Raises:
            RuntimeError: No step is left.
        """
        self._check_left()
        return self.timesteps[self.step]

    @property
    def time(self) -> torch.Tensor:
        """`timestep` as a scalar tensor on the state's device.

        Raises:
            RuntimeError: No step is left.
        """
        self._check_left()
        return self._times[self.step]

    @property
    def weight_sums(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the sum of weighted tiles in `estimate` is to be divided by, along rows (H,) and columns (W,)."""
        return self._row_sums, self._column_sums

    @property
    def next_timestep(self) -> int:
        """Time that the present step jumps to; 0 at the end."""
        return self.timesteps[self.step + 1] if self.step + 1 < self.steps else 0

    @property
    def noisy(self) -> torch.Tensor:
        """x_t (3, H, W); what is written into it belongs to the next state."""
        return self.draw_noise(self._noisy.shape[1])

    @torch.inference_mode()
    def draw_noise(self, last: int) -> torch.Tensor:
        """Give x_t (3, H, W), of which the rows before `last` are there.

        The noise of x_T is drawn where tiles first need it: for 24 megapixels that takes a second, in which nobody
        else's tiles could run.
        """
        for rows in strips(self._noisy[:, :last], self._drawn_rows):
            part = slice(rows.start, rows.stop)
            noise = pixel_noise(self.seed, 0, rows, self._noisy.shape[2], self._noisy.device)
            self._noisy[:, part] = self.degraded[:, part] + self._noise_level * noise
            self._drawn_rows = rows.stop
        return self._noisy

    def add_prediction(self, index: int, prediction: torch.Tensor) -> None:
        """Blend one tile's x0_hat (3, tile, tile) into the estimate; a second time for the same tile is an error."""
        if index not in self.missing:
            raise RuntimeError(f"tile {index} of step {self.step} was predicted twice")
        rows, columns = self.grid.window(index)
        self.estimate[:, rows, columns].addcmul_(prediction, self.window)
        self.missing.discard(index)

    def add_unchecked(self, index: int, prediction: torch.Tensor, finite: torch.Tensor) -> None:
        """Blend one tile's x0_hat without waiting for the device to say whether it is finite; see `take_non_finite`.

        Args:
            index: Of the tile.
            prediction: (3, tile, tile), zeros where it is not finite.
            finite: Scalar bool on the device.
        """
        self.add_prediction(index, prediction)
        self._unchecked.append((index, finite))

    def take_non_finite(self) -> list[int]:
        """Wait for the tiles that were blended unchecked; those that were not finite are missing again, and told."""
        if not self._unchecked:
            return []
        flags = torch.stack([finite for _, finite in self._unchecked]).tolist()
        wrong = [index for (index, _), finite in zip(self._unchecked, flags, strict=True) if not finite]
        self._unchecked.clear()
        self.missing.update(wrong)
        return wrong

    def normalize_estimate(self) -> torch.Tensor:
        """Turn the weighted sum into x0_hat, in place, once every tile is in; a second call changes nothing.

        Raises:
            RuntimeError: Tiles of this step are missing, or no step is left.
        """
        self._check_left()
        if self.missing:
            raise RuntimeError(f"step {self.step}: {len(self.missing)} of {self.tiles} tiles were not predicted yet")
        if not self._is_normalized:
            self.estimate.div_(self._row_sums[:, None]).div_(self._column_sums)
            self._is_normalized = True
        return self.estimate

    def start_step(self) -> None:
        """Go on to the next step: no tile predicted yet."""
        self.step += 1
        if not self.is_done:
            self.restart_step()

    @torch.inference_mode()
    def restart_step(self) -> None:
        """Forget the predictions of the present step, which must not have moved the state yet."""
        self.estimate.zero_()
        self.missing = set(range(len(self.grid)))
        self._unchecked.clear()
        self.stepped_rows = 0
        self._is_normalized = False

    def _check_left(self) -> None:
        if self.is_done:
            raise RuntimeError(f"all {self.steps} steps are done; call `Restorer.finish`")
