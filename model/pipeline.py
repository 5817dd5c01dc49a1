"""One photo in, one result out: the whole method, and the tile steps that the service's engine schedules.

`Restorer.restore` is the reference: the engine, whatever it batches, must give the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from model.buckets import bucket_tiles
from model.budget import check_budget, choose_steps, get_steps, is_found
from model.checkpoint import WEIGHTS_DIR, ModelFolder
from model.checks import check_image
from model.config import JPEG_BLOCK, ModelConfig, list_configs, load_config
from model.degradation.holes import locate_holes
from model.degradation.kinds import KINDS
from model.diffusion.bridge import get_timesteps
from model.diffusion.network import HOLE_FILL, RestorationNetwork
from model.diffusion.noise import pixel_noise
from model.diffusion.scheduler import MeanRevertingScheduler
from model.errors import CheckpointError, NonFiniteError, ShapeError
from model.forward import DeviceQueue, TileBatch, TileForward
from model.guidance import Guidance
from model.observe import Observation, observe_photos
from model.state import Analysis, Finding, RestorationState
from model.strips import strips
from model.tiling import TileGrid
from model.transfer import to_device, to_host
from model.vlm.views import mirror_to
from model.vlm.vision_language import VisionLanguageModel

__all__ = ["Analysis", "Finding", "Observation", "RestorationResult", "RestorationState", "Restorer", "list_models"]

_TINY_WORDS = tuple(f"word{index}" for index in range(24))


@dataclass(frozen=True)
class RestorationResult:
    """A restored photo.

    Attributes:
        image: (1, 3, H, W) float32 on the CPU, in [0, 1].
        caption: What the photo shows, given or found.
        findings: What was wrong with it.
        steps: Denoising steps used.
    """

    image: torch.Tensor
    caption: str | None
    findings: tuple[Finding, ...]
    steps: int


def list_models() -> tuple[str, ...]:
    """Models that can be loaded by name: those with shipped weights, and `tiny`."""
    return tuple(name for name in list_configs() if name == "tiny" or (WEIGHTS_DIR / name / "config.json").is_file())


def build_network(config: ModelConfig) -> RestorationNetwork:
    """The untrained restoration network of a configuration."""
    # by keyword: diffusers takes positional arguments for defaults and would drop them in `from_config`
    network = RestorationNetwork(
        network=asdict(config.network),
        embed_dim=config.vlm.embed_dim,
        patch_dim=config.vlm.width,
        kinds=len(KINDS),
        timesteps=config.diffusion.timesteps,
    )
    return network.to(memory_format=torch.channels_last)


def build_scheduler(config: ModelConfig) -> MeanRevertingScheduler:
    """The bridge of a configuration."""
    values = config.diffusion
    return MeanRevertingScheduler(
        num_train_timesteps=values.timesteps,
        schedule=values.schedule,
        final_mean=values.final_mean,
        noise_level=values.noise_level,
        stochastic=values.stochastic,
    )


class Restorer:
    """The two-stage restorer with everything resident on one device.

    Args:
        config: Sizes.
        guidance: Stage one.
        network: Stage two.
        device: Where the network runs and states live.

    Raises:
        ConfigError: The budget of steps names kinds that do not exist.
    """

    def __init__(
        self, config: ModelConfig, guidance: Guidance, network: RestorationNetwork, device: str | torch.device = "cpu"
    ) -> None:
        check_budget(config)
        self.config, self.device = config, torch.device(device)
        self.guidance = guidance.to(self.device).eval().requires_grad_(False)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.scheduler = build_scheduler(config)
        self.forward = TileForward(self.network, self.device)
        # Whether forwards leave it to `finish_step` to find out what is not finite, so that the host prepares the next
        # batch while the device works on this one.
        self.checks_later = self.device.type == "cuda"
        self._queued = DeviceQueue(self.device)

    @classmethod
    def load(cls, name_or_dir: str | Path, device: str | torch.device = "cpu") -> Restorer:
        """Load a model by name (`list_models`) or from a folder that `vlmir train` wrote.

        Raises:
            CheckpointError: Weights are missing, damaged or do not fit.
        """
        folder = Path(name_or_dir)
        if not (folder / "config.json").is_file():
            folder = WEIGHTS_DIR / str(name_or_dir)
        if not (folder / "config.json").is_file():
            if str(name_or_dir) == "tiny":
                return cls.random(load_config("tiny"), device=device)
            raise CheckpointError(
                f"model {str(name_or_dir)!r}: no weights; known models: {', '.join(list_models())}; or give a folder "
                "written by `vlmir train`"
            )
        parts = ModelFolder(folder)
        config = parts.load_config()
        guidance = Guidance.load(config, parts)
        network = build_network(config)
        parts.load_part("restorer", network)
        return cls(config, guidance, network, device)

    @classmethod
    def random(cls, config: ModelConfig, seed: int = 0, device: str | torch.device = "cpu") -> Restorer:
        """A model with random weights, none of them zero, so that every part shows in the output (tests)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            guidance = Guidance(config, VisionLanguageModel(config.vlm, _TINY_WORDS, pretrained=False))
            network = build_network(config)
            for parameter in (*guidance.predictor.parameters(), *network.parameters()):
                if not bool(parameter.any()):
                    parameter.data.normal_(0, 0.02)
        return cls(config, guidance, network, device)

    @property
    def name(self) -> str:
        """Name of the configuration."""
        return self.config.name

    @property
    def tile_px(self) -> int:
        """Side of a tile."""
        return self.config.tile_px

    @property
    def parameters_count(self) -> int:
        """Number of weights of both stages."""
        return sum(value.numel() for part in (self.guidance, self.network) for value in part.parameters())

    def default_steps(self, quality: str) -> int:
        """Denoising steps of a quality ("fast", "balanced", "best") where the damage found does not decide.

        Raises:
            ConfigError: Another word.
        """
        return get_steps(self.config, quality)

    def choose_steps(self, quality: str, analysis: Analysis, mask: torch.Tensor | None = None) -> int:
        """Denoising steps of one photo at a quality, by the damage found in it; see `model.budget.choose_steps`.

        Args:
            quality: "fast", "balanced" or "best".
            analysis: Of the photo.
            mask: As for `begin`.

        Raises:
            ConfigError: The quality is another word than "fast", "balanced" or "best".
        """
        has_holes = mask is not None and bool((mask > 0.5).any())
        return choose_steps(self.config, quality, analysis.findings, has_holes=has_holes)

    def observe(
        self, image: torch.Tensor, caption: str | None = None, kinds: Collection[str] | None = None
    ) -> Observation:
        """Stage one for one photo, as features that may still be changed (ablations do).

        Args:
            image: (1, 3, H, W) in [0, 1].
            caption: What it shows, if the caller knows better; None writes a caption.
            kinds: What is wrong with it, if the caller knows better, none for nothing; None asks the predictor. The
                findings then report what was told.

        Raises:
            UnknownKindError: A kind is none of the ten.
        """
        return next(observe_photos(self.guidance, [image], [caption], self.device, None, [kinds]))

    def analyze(
        self, image: torch.Tensor, caption: str | None = None, kinds: Collection[str] | None = None
    ) -> Analysis:
        """Stage one for one photo, ready for `begin`; arguments as for `observe`."""
        return self.analyze_many([image], [caption], [kinds])[0]

    @torch.inference_mode()
    def analyze_many(
        self,
        images: Sequence[torch.Tensor],
        captions: Sequence[str | None],
        kinds: Sequence[Collection[str] | None] | None = None,
    ) -> list[Analysis]:
        """Stage one for photos of any sizes, which on CUDA are looked at together; none depends on the others.

        Args:
            images: (1, 3, H, W) each.
            captions: One per photo; None writes it.
            kinds: What is wrong with each photo; None, for one or for all, asks the predictor.

        Raises:
            UnknownKindError: A kind is none of the ten.
        """
        return [
            Analysis(seen.caption, seen.findings, self.network.encode_context(seen.features), seen.holes)
            for seen in observe_photos(self.guidance, images, captions, self.device, None, kinds)
        ]

    @torch.inference_mode()
    def begin(
        self, image: torch.Tensor, analysis: Analysis, *, steps: int, seed: int = 0, mask: torch.Tensor | None = None
    ) -> RestorationState:
        """Set up the state x_T of one photo.

        Args:
            image: (1, 3, H, W) float32 in [0, 1]; the state may keep and use its memory.
            analysis: From `analyze`.
            steps: Denoising steps, 1 to T.
            seed: Of the noise, 0 <= seed < 2^63.
            mask: (1, 1, H, W), above 0.5 = missing; None looks for holes when the analysis says there are some.
        """
        check_image(image, batch=1)
        if mask is not None and mask.shape != (1, 1, *image.shape[2:]):
            raise ShapeError(
                f"mask: got shape {tuple(mask.shape)}, expected (1, 1, {image.shape[2]}, {image.shape[3]})"
            )
        timesteps = tuple(get_timesteps(self.config.diffusion.timesteps, steps))
        size = (int(image.shape[2]), int(image.shape[3]))
        holes = None if mask is None else mask > 0.5
        if mask is None and any(item.kind == "inpainting" and is_found(item) for item in analysis.findings):
            holes = locate_holes(image.cpu()) if analysis.holes is None else analysis.holes
        analysis = replace(analysis, holes=None)  # the state keeps a copy of its own, of its own size
        tile = self.config.tile_px
        height, width = (max(tile, -(-side // JPEG_BLOCK) * JPEG_BLOCK) for side in size)
        degraded = mirror_to(to_device(image, self.device)[0], height, width)
        missing = None
        if holes is not None and bool(holes.any()):
            missing = mirror_to(holes[0].to(self.device, torch.float32), height, width)
            degraded = torch.where(missing > 0, torch.full_like(missing, HOLE_FILL), degraded)
        # tiles on the block grid of the photo's own JPEG file, so that blocks lie where they lay in training
        grid = TileGrid.cover(height, width, tile, self.config.overlap_px, JPEG_BLOCK)
        level = self.config.diffusion.noise_level / 255
        return RestorationState(degraded, level, missing, analysis, grid, timesteps, size, seed, self.config.overlap_px)

    @torch.inference_mode()
    def forward_tiles(self, items: Sequence[tuple[RestorationState, int]], *, full_precision: bool = False) -> None:
        """One network forward over tiles of any states at any step; x0_hat is blended into each state.

        The batch is padded with copies to one of a few sizes, see `model.buckets`.

        Args:
            items: (state, tile index) pairs.
            full_precision: On CUDA, float32 instead of bfloat16.

        Raises:
            NonFiniteError: A tile came back with NaN or infinity; the other tiles were blended in all the same. Where
                `checks_later` and not in full precision, `finish_step` raises it.
            RuntimeError: A tile was predicted twice, or a state has no step left.
        """
        if not items:
            return
        bucket = bucket_tiles(len(items))
        padded = [*items, *([items[-1]] * (bucket - len(items)))]
        predictions = self.forward(TileBatch.gather(padded), full_precision=full_precision)
        # one value that is not finite makes the sum so, without a mask of every value in memory
        is_finite = torch.isfinite(predictions.sum((1, 2, 3), dtype=torch.float32))
        if self.checks_later and not full_precision:
            predictions = predictions.where(is_finite[:, None, None, None], 0)
            for (state, index), prediction, flag in zip(items, predictions, is_finite, strict=False):
                state.add_unchecked(index, prediction, flag)
            self._queued.add()
            return
        finite = is_finite.tolist()
        for (state, index), prediction, good in zip(items, predictions, finite, strict=False):
            if good:
                state.add_prediction(index, prediction)
        failed = next((state for (state, _), good in zip(items, finite, strict=False) if not good), None)
        if failed is not None:
            raise _non_finite(failed)

    @torch.inference_mode()
    def finish_step(self, state: RestorationState) -> None:
        """After every tile of a step: blend, then one scheduler step on the whole photo.

        Where this fails, for want of memory for instance, a second call goes on where the first one stopped.

        Raises:
            NonFiniteError: Tiles that forwards did not check came back with NaN or infinity; they are missing again.
            RuntimeError: Tiles of this step are missing, or no step is left.
        """
        if state.take_non_finite():
            raise _non_finite(state)
        estimate = state.normalize_estimate()
        if state.next_timestep > 0:
            for rows in strips(estimate, state.stepped_rows):
                part = slice(rows.start, rows.stop)
                noise = None
                if self.scheduler.stochastic:
                    noise = pixel_noise(state.seed, state.step + 1, rows, estimate.shape[2], self.device)[None]
                stepped = self.scheduler.step(
                    estimate[None, :, part].clamp(0, 1),
                    state.timestep,
                    state.noisy[None, :, part],
                    state.degraded[None, :, part],
                    previous_timestep=state.next_timestep,
                    noise=noise,
                    return_dict=False,
                )
                state.noisy[:, part] = stepped[0][0]
                state.stepped_rows = rows.stop
        state.start_step()

    @torch.inference_mode()
    def finish(self, state: RestorationState) -> RestorationResult:
        """The result of a state whose steps are done; the state is used up.

        Raises:
            RuntimeError: Steps are left.
        """
        if not state.is_done:
            raise RuntimeError(f"step {state.step} of {state.steps}: the restoration is not done")
        image = to_host(state.estimate[None, :, : state.size[0], : state.size[1]].clamp_(0, 1))
        return RestorationResult(image, state.analysis.caption, state.analysis.findings, state.steps)

    def restore(
        self,
        image: torch.Tensor,
        *,
        steps: int | None = None,
        quality: str = "balanced",
        seed: int = 0,
        caption: str | None = None,
        mask: torch.Tensor | None = None,
        analysis: Analysis | None = None,
        batch_tiles: int = 4,
        on_step: Callable[[int, int], None] | None = None,
    ) -> RestorationResult:
        """Restore one photo (1, 3, H, W) in [0, 1] of any size.

        Args:
            image: The damaged photo.
            steps: Denoising steps; None lets quality and findings decide (`choose_steps`).
            quality: "fast", "balanced" or "best"; without effect when `steps` is given.
            seed: Of the noise.
            caption: What the photo shows; None writes a caption.
            mask: (1, 1, H, W), above 0.5 = missing.
            analysis: From `analyze`, or made otherwise; None looks at the photo. `caption` is then without effect.
            batch_tiles: Tiles per forward.
            on_step: Called with (steps done, steps in all).
        """
        if analysis is None:
            analysis = self.analyze(image, caption)
        if steps is None:
            steps = self.choose_steps(quality, analysis, mask)
        state = self.begin(image, analysis, steps=steps, seed=seed, mask=mask)
        while not state.is_done:
            for first in range(0, state.tiles, batch_tiles):
                last = min(first + batch_tiles, state.tiles)
                self.forward_tiles([(state, index) for index in range(first, last)])
            self.finish_step(state)
            if on_step is not None:
                on_step(state.step, state.steps)
        return self.finish(state)


def _non_finite(state: RestorationState) -> NonFiniteError:
    return NonFiniteError(f"step {state.step}: the network gave NaN or infinity; run it in full precision", state)
