"""Keys of photos in the object store: made of ids, of nothing else."""

from __future__ import annotations

import pytest

from app.jobs.job import new_job_id
from app.jobs.objects import object_key

ID = new_job_id()


def test_keys_are_made_of_kind_id_and_attempt() -> None:
    assert object_key(f"image:{ID}") == f"image/{ID}"
    assert object_key(f"mask:{ID}") == f"mask/{ID}"
    assert object_key(f"result:{ID}:12") == f"result/{ID}-12"


@pytest.mark.parametrize(
    "member",
    [
        "",
        f"other:{ID}",
        f"image:{ID}:1",
        f"result:{ID}",
        f"result:{ID}:-1",
        f"result:{ID}:1/../../a",
        "image:..",
        "image:../../etc/passwd",
        f"image:{ID}/..",
        f"image:{ID}\n",
        f"image:{ID.upper()}x",
        f"image:{ID[:-1]}",
        f"other:image:{ID}",
    ],
)
def test_nothing_else_becomes_a_key(member: str) -> None:
    with pytest.raises(ValueError, match="no name of a photo"):
        object_key(member)
