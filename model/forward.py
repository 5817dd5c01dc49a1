"""The network on one batch of tiles: as it is, or on CUDA as one captured graph per batch size.

A graph replays hundreds of small kernels with one launch, which on a large GPU cost more than their arithmetic. Its
inputs and outputs keep their addresses, so inputs are copied in and outputs must be used up before the next replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch

from model.diffusion.context import Context
from model.diffusion.network import RestorationNetwork

if TYPE_CHECKING:
    from model.state import RestorationState

_WARM_UP_CALLS = 3  # before a capture, so that cuDNN has chosen its algorithms and the allocator is settled


@dataclass(frozen=True)
class TileBatch:
    """What one forward is given, B tiles of side P.

    Attributes:
        noisy: x_t (B, 3, P, P).
        degraded: LQ (B, 3, P, P).
        mask: (B, 1, P, P), 1 = missing.
        times: (B,) integers 1..T.
        tokens: (B, N, context_dim).
        embedding: (B, time_dim).
    """

    noisy: torch.Tensor
    degraded: torch.Tensor
    mask: torch.Tensor
    times: torch.Tensor
    tokens: torch.Tensor
    embedding: torch.Tensor

    @classmethod
    def gather(cls, items: Sequence[tuple[RestorationState, int]]) -> TileBatch:
        """The tiles of states, by their indexes, at the step that each state is at."""
        windows = [(state, *state.grid.window(index)) for state, index in items]
        degraded = torch.stack([state.degraded[:, rows, columns] for state, rows, columns in windows])
        blank = torch.zeros_like(degraded[0, :1])
        return cls(
            noisy=torch.stack([state.draw_noise(rows.stop)[:, rows, columns] for state, rows, columns in windows]),
            degraded=degraded,
            mask=torch.stack(
                [blank if state.mask is None else state.mask[:, rows, columns] for state, rows, columns in windows]
            ),
            times=torch.stack([state.time for state, _ in items]),
            tokens=torch.cat([state.analysis.context.tokens for state, _ in items]),
            embedding=torch.cat([state.analysis.context.embedding for state, _ in items]),
        )

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All inputs, in a fixed order."""
        return tuple(getattr(self, item.name) for item in fields(self))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """What a captured graph depends on."""
        return tuple(tuple(tensor.shape) for tensor in self.tensors)


class DeviceQueue:
    """Keeps the host from running ahead of a GPU by more than one batch: what is queued cannot be canceled.

    Args:
        device: Where batches run; one that is no GPU makes the host wait by itself.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: torch.cuda.Event | None = None  # when the last batch will be done

    def add(self) -> None:
        """Note that a batch was queued, and wait for the one before it."""
        if self._device.type != "cuda":
            return
        before, stream = self._last, torch.cuda.current_stream(self._device)
        self._last = stream.record_event()
        if before is not None:
            before.synchronize()


class TileForward:
    """Gives x0_hat of batches of tiles in the precision of the device: bfloat16 on CUDA, float32 elsewhere.

    Belongs to one thread.

    Args:
        network: On its device, in evaluation mode.
        device: Where it is.
        graphs: Whether CUDA may replay captured graphs; without effect on other devices.
    """

    def __init__(self, network: RestorationNetwork, device: torch.device, *, graphs: bool = True) -> None:
        self._network, self._device = network, device
        self._has_graphs = graphs and device.type == "cuda"
        self._captured: dict[tuple[tuple[int, ...], ...], _CapturedForward] = {}
        self._pool: Any = None  # memory shared by all graphs: only one runs at a time

    @torch.inference_mode()
    def __call__(self, batch: TileBatch, *, full_precision: bool = False) -> torch.Tensor:
        """Predict x0_hat (B, 3, P, P), not clamped; valid until the next call.

        Args:
            batch: The inputs.
            full_precision: On CUDA, float32 instead of bfloat16.
        """
        if not self._has_graphs or full_precision:
            return self._predict(batch, half=self._device.type == "cuda" and not full_precision)
        with torch.cuda.device(self._device):  # streams, pools and graphs are made on the current device
            captured = self._captured.get(batch.shapes)
            if captured is None:
                captured = self._captured[batch.shapes] = self._capture(batch)
            return captured.replay(batch)

    def forget_graphs(self) -> None:
        """Give back the memory of all captured graphs; they are captured anew when needed."""
        self._captured.clear()
        self._pool = None

    def _predict(self, batch: TileBatch, *, half: bool) -> torch.Tensor:
        # without the cache of cast weights: a captured graph would go on to read copies that autocast has freed
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half, cache_enabled=False):
            context = Context(batch.tokens, batch.embedding)
            estimate: torch.Tensor = self._network(batch.noisy, batch.degraded, batch.mask, batch.times, context)
        return estimate

    def _capture(self, batch: TileBatch) -> _CapturedForward:
        inputs = TileBatch(*(tensor.clone() for tensor in batch.tensors))
        side_stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side_stream):
            for _ in range(_WARM_UP_CALLS):
                self._predict(inputs, half=True)
        torch.cuda.current_stream(self._device).wait_stream(side_stream)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # only this thread's calls are recorded: others may copy photos meanwhile
        with torch.cuda.graph(graph, pool=self._pool, stream=side_stream, capture_error_mode="thread_local"):
            output = self._predict(inputs, half=True)
        return _CapturedForward(graph, inputs, output)


@dataclass(frozen=True)
class _CapturedForward:
    """A graph with the tensors it reads and the one it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: TileBatch
    output: torch.Tensor

    def replay(self, batch: TileBatch) -> torch.Tensor:
        for own, given in zip(self.inputs.tensors, batch.tensors, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output
