from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from byways.core.seeding import as_generator, task_generator


def test_a_seed_gives_the_generator_of_numpy() -> None:
    expected = np.random.default_rng(7).random(3).tolist()
    assert as_generator(7).random(3).tolist() == expected
    assert as_generator(np.int64(7)).random(3).tolist() == expected


def test_a_generator_is_used_as_it_is() -> None:
    rng = np.random.default_rng(0)
    assert as_generator(rng) is rng


def test_none_is_fresh_every_time() -> None:
    assert as_generator(None).integers(2**62) != as_generator(None).integers(2**62)


def test_the_global_generator_stays_untouched() -> None:
    np.random.seed(0)  # noqa: NPY002  it is the one under test
    state = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]  # noqa: NPY002
    as_generator(3).random(5)
    task_generator(3, "a").random(5)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index,union-attr]  # noqa: NPY002


@pytest.mark.parametrize("value", [True, False, "7", 7.0, [7], np.random.RandomState(0)])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r'"rng" was .*; it takes an integer seed'):
        as_generator(value)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r'"rng" was -1; a seed is not negative'):
        as_generator(-1)


def test_a_task_has_its_own_numbers_wherever_it_runs() -> None:
    seed = int.from_bytes(hashlib.sha256(b"5:task-1").digest()[:16], "little")
    expected = np.random.default_rng(seed).random(4).tolist()
    assert task_generator(5, "task-1").random(4).tolist() == expected
    pairs = [(5, "task-1"), (5, "task-2"), (6, "task-1"), (5, "task-10"), (51, "task-0")]
    assert len({task_generator(*pair).integers(2**62) for pair in pairs}) == len(pairs)
