from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byways.runs import Result, Task

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    key=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}[a-z]", fullmatch=True),
    payload=st.dictionaries(st.text(max_size=4), _JSON, max_size=3),
    cost=st.floats(min_value=1e-300, max_value=1e300),
)
def test_task_survives_json_and_pickle(key: str, payload: dict[str, Any], cost: float) -> None:
    task = Task(key, payload, cost)
    assert Task.from_json(task.to_json()) == task
    assert pickle.loads(pickle.dumps(task)) == task
    assert json.loads(task.to_json()) == {"key": key, "payload": payload, "cost": cost}
    assert "\n" not in task.to_json()


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "../up", "a/b", "a\\b", "/abs", ".hidden", "a b", "a\n", "a\x00", "é", "a.",
     "-flag", "x" * 121, "C:x", "~", "%2e%2e", "\u2025"],
)  # fmt: skip
def test_keys_that_are_no_file_names_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match='"key" was'):
        Task(key, {})
    with pytest.raises(ValueError, match='"key" was'):
        Result(key)


@pytest.mark.parametrize("key", ["a", "7", "a.b", "A_", "a-", "x" * 120, "layer1.7-0_2"])
def test_keys_that_are_file_names_are_taken(key: str) -> None:
    assert Task(key, {}).key == key


def test_key_must_be_text() -> None:
    with pytest.raises(TypeError, match='"key" was 7; it must be a str'):
        Task(7, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "payload",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": (1, 2)}, {1: 2}, {"x": np.int64(3)},
     {"x": np.zeros(2)}, {"x": {1, 2}}, {"x": b"bytes"}, {"x": {"y": (1,)}}],
)  # fmt: skip
def test_payload_that_json_would_change_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="\"payload\" of task 'a' cannot travel as JSON"):
        Task("a", payload)


def test_endless_payload_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="cannot travel as JSON"):
        Task("a", {"x": circle})


def test_task_keeps_a_copy_of_its_payload() -> None:
    payload: dict[str, Any] = {"x": [1, 2]}
    task = Task("a", payload)
    payload["x"].append(3)
    assert task.payload == {"x": [1, 2]}


@pytest.mark.parametrize("cost", [0, -1.0, float("nan"), float("inf")])
def test_cost_must_be_positive_and_finite(cost: float) -> None:
    with pytest.raises(ValueError, match="\"cost\" of task 'a' was"):
        Task("a", {}, cost)


@pytest.mark.parametrize("cost", [True, "1", None])
def test_cost_must_be_a_number(cost: Any) -> None:
    with pytest.raises(TypeError, match="\"cost\" of task 'a' was"):
        Task("a", {}, cost)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '{"key": "a"}', '{"key": "a", "payload": {}, "cost": "1"}',
     '{"key": "../a", "payload": {}, "cost": 1}', '{"key": "a", "payload": [], "cost": 1}',
     '{"key": "a", "payload": {}, "cost": 1, "run": "rm"}', '{"key": 1, "payload": {}, "cost": 1}',
     '{"key": "a", "payload": {}, "cost": NaN}', '{"key": "a", "payload": {"x": NaN}, "cost": 1}',
     b"\xff\xfe", "[" * 100_000],
)  # fmt: skip
def test_messages_that_are_no_tasks_are_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Task.from_json(text)


def test_result_turns_numpy_numbers_into_plain_ones() -> None:
    result = Result("a", counts={"whole": np.int64(3), "real": np.float32(0.5)})  # type: ignore[dict-item]
    assert result.counts == {"whole": 3, "real": 0.5}
    assert [type(value) for value in result.counts.values()] == [int, float]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_counts_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"'n' was .*; it must be finite"):
        Result("a", counts={"n": value})


@pytest.mark.parametrize("counts", [{"n": True}, {"n": "1"}, {1: 1}, [1]])
def test_counts_must_be_numbers_by_name(counts: Any) -> None:
    with pytest.raises(TypeError, match="\"counts\" of result 'a'"):
        Result("a", counts=counts)


@pytest.mark.parametrize(
    "arrays",
    [{"x": np.array([None])}, {"x": np.zeros(1, [("a", int)])}, {1: np.zeros(1)}, [np.zeros(1)]],
)
def test_arrays_that_cannot_be_stored_are_refused(arrays: Any) -> None:
    with pytest.raises(TypeError, match="\"arrays\" of result 'a'"):
        Result("a", arrays=arrays)


def test_seconds_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="it must be >= 0"):
        Result("a", seconds=-1e-9)


def test_no_arrays_is_none() -> None:
    assert Result("a", arrays={}).arrays is None
