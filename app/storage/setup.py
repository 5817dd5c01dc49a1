"""The storage that a process is set up with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.storage.buckets import BucketPolicy, CallerBuckets
from app.storage.errors import StorageSetupError
from app.storage.objects import ObjectStore
from app.storage.urls import StoragePlace, parse_storage

if TYPE_CHECKING:
    from app.settings import Settings


@dataclass(frozen=True)
class Storage:
    """Where photos are, beside Redis.

    Attributes:
        objects: The service's own photos; None when they are in Redis.
        buckets: What callers have.
    """

    objects: ObjectStore | None
    buckets: CallerBuckets

    @classmethod
    def of(cls, settings: Settings) -> Storage:
        """Give the storage that the settings name. Nothing is connected to yet, but a missing folder is made.

        Raises:
            StorageSetupError: It cannot be used.
        """
        place = parse_storage(settings.storage)
        objects = None if place.scheme == "redis" else ObjectStore.at(below(place, settings.namespace))
        return cls(objects, CallerBuckets(BucketPolicy.of(settings)))


def below(place: StoragePlace, namespace: str) -> StoragePlace:
    """Give the part of a place for one of several services that share it; all of it without a namespace.

    Raises:
        StorageSetupError: The namespace is one of dots, which would lead elsewhere.
    """
    if not namespace:
        return place
    if namespace in (".", ".."):
        raise StorageSetupError(f"VLMIR_NAMESPACE is {namespace!r}; give a name that can be part of a path.")
    return replace(place, prefix=f"{place.prefix}/{namespace}" if place.prefix else namespace)
