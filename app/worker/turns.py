"""Whose turn it is: rings of priorities, of their tenants and of their jobs, one in the other.

Pure, as the engine. A tile is taken in turn when its job is at the head of all three rings; every other one is
owed at all three levels. So turns are used up by tiles in turn alone, and a job of a model that nobody else wants comes
to begin a batch, however many batches of other models its tenant has a part in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.worker.fairness import DeficitRing

if TYPE_CHECKING:
    from app.worker.engine import JobShape


LIGHT_WEIGHT = 2
"""Turns of jobs with little to do are as many times as long as those of other jobs."""


class Turns:
    """Deficit round robin over priority, then tenant, then job.

    Args:
        quantum: Tiles per turn of a job, a tenant or a priority of weight one.
        weights: Of the priorities; those not named weigh 1.
        light_tile_steps: Jobs of at most so many tiles over all steps weigh 2 among those of their tenant.
    """

    def __init__(self, quantum: int, weights: Mapping[str, int], light_tile_steps: int = 0) -> None:
        self._quantum, self._light_tile_steps = quantum, light_tile_steps
        self._weights = dict(weights)
        self._shapes: dict[str, JobShape] = {}
        self._models: Counter[str] = Counter()
        self.priorities = DeficitRing(quantum)
        self.tenants: dict[str, DeficitRing] = {}
        self.jobs: dict[tuple[str, str], DeficitRing] = {}

    def join(self, shape: JobShape) -> None:
        """Let a job take part, from now on or again."""
        if shape.job_id not in self._shapes:
            self._shapes[shape.job_id] = shape
            self._models[shape.model] += 1
        self.priorities.activate(shape.priority, self._weights.get(shape.priority, 1))
        self.tenants.setdefault(shape.priority, DeficitRing(self._quantum)).activate(shape.tenant)
        self.jobs.setdefault((shape.priority, shape.tenant), DeficitRing(self._quantum)).activate(
            shape.job_id, LIGHT_WEIGHT if shape.tiles * shape.steps <= self._light_tile_steps else 1
        )

    def leave(self, shape: JobShape) -> None:
        """Take a job without tiles out of its ring, and out of theirs a tenant and a priority without any.

        The rings stay, because they hold the debts.
        """
        jobs, tenants = self.jobs[shape.priority, shape.tenant], self.tenants[shape.priority]
        jobs.deactivate(shape.job_id)
        if not len(jobs):
            tenants.deactivate(shape.tenant)
        if not len(tenants):
            self.priorities.deactivate(shape.priority)

    def forget(self, shape: JobShape) -> None:
        """Drop what is kept of a job for good, of its tenant after the last job, and of all when none is left.

        A priority keeps its debt until then: it would be rid of it between any two jobs that come one by one.
        """
        self.leave(shape)
        del self._shapes[shape.job_id]
        self._models[shape.model] -= 1
        self._models += Counter()  # drops those without a job
        others = self._shapes.values()
        priority, tenant = shape.priority, shape.tenant
        if any((other.priority, other.tenant) == (priority, tenant) for other in others):
            self.jobs[priority, tenant].forget(shape.job_id)
            return
        del self.jobs[priority, tenant]  # what is kept of tenants that left must not pile up
        self.tenants[priority].forget(tenant)
        if not any(other.priority == priority for other in others):
            del self.tenants[priority]
        if not others:
            self.priorities = DeficitRing(self._quantum)

    def take(self, model: str | None, most_debt: int) -> str | None:
        """Give the job whose tile is next and count that tile; the caller calls `leave` if it was the last one.

        Args:
            model: The tile must be for this one; None takes any.
            most_debt: See `DeficitRing.head`.

        Returns:
            Id of the job; None when none has a tile for the model.
        """
        if not len(self.priorities) or not (model is None or len(self._models) == 1 or self._has_tile(model)):
            return None  # and no turn passes, no debt is paid: those that would fit may be back at once
        priority = self.priorities.head(most_debt)
        tenant = self.tenants[priority].head(most_debt)
        job_id = self.jobs[priority, tenant].head(most_debt)
        if model is None or self._shapes[job_id].model == model:
            self.jobs[priority, tenant].charge(job_id)
            self.tenants[priority].charge(tenant)
            self.priorities.charge(priority)
            return job_id
        return self._take_out_of_turn(model)

    def _has_tile(self, model: str) -> bool:
        return any(self._shapes[job_id].model == model for ring in self.jobs.values() for job_id in ring)

    def _take_out_of_turn(self, model: str) -> str | None:
        def job_fits(job_id: str) -> bool:
            return self._shapes[job_id].model == model

        def tenant_fits(priority: str, tenant: str) -> bool:
            return any(job_fits(job_id) for job_id in self.jobs[priority, tenant])

        def priority_fits(priority: str) -> bool:
            return any(tenant_fits(priority, tenant) for tenant in self.tenants[priority])

        priority = self.priorities.choose(priority_fits)
        if priority is None:
            return None
        tenant = self.tenants[priority].choose(lambda key: tenant_fits(priority, key))
        job_id = None if tenant is None else self.jobs[priority, tenant].choose(job_fits)
        if tenant is None or job_id is None:
            return None
        self.jobs[priority, tenant].owe(job_id)
        self.tenants[priority].owe(tenant)
        self.priorities.owe(priority)
        return job_id
