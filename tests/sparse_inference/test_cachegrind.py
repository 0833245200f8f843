"""Misses of orders against those that Cachegrind counts while a C program runs through them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from byways.sparse_inference import EdgeGraph, order_edges, radix_net, random_sparse, simulate_cache
from byways.sparse_inference._slots import assign_slots

SIZE, WAYS, LINE, TILE = 8192, 4, 64, 16  # a vector is one line, 128 of them fit

# Edges come through a pipe, eight at a time into one line: no stream of theirs is in the cache.
PROGRAM = """
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) void touch(volatile float *vector) { (void)*vector; }
int main(int count, char **words) {
    float *values = aligned_alloc(4096, 4096L * atol(words[1]));
    static _Alignas(64) int32_t ends[16];
    for (ssize_t got; (got = read(0, ends, sizeof ends)) > 0;)
        for (int i = 0; i < got / 4; i++) touch(values + 16L * ends[i]);
    return 0;
}
"""

pytestmark = pytest.mark.skipif(
    "BYWAYS_TEST_VALGRIND" not in os.environ  # whoever sets it wants these tests to run
    and not (shutil.which("valgrind") and shutil.which("cc")),
    reason="needs valgrind and a C compiler (Debian: valgrind, gcc)",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "replay.c").write_text(PROGRAM)
    subprocess.run(["cc", "-O1", "-g", "-o", "replay", "replay.c"], cwd=folder, check=True)
    return folder / "replay"


@pytest.mark.parametrize("layout", ["identity", "first_touch", "reuse"])
@pytest.mark.parametrize("method", ["destination", "source", "random", "ego"])
@pytest.mark.parametrize("name", ["random", "radix"])
def test_as_many_misses_as_cachegrind_counts(
    program: Path, name: str, method: str, layout: str
) -> None:
    graph = radix_net(1024, 1) if name == "radix" else random_sparse([256] * 4, 0.1)
    order = order_edges(graph, method, **({"memory": 101} if method == "ego" else {}))
    found = simulate_cache(graph, order, size=SIZE, ways=WAYS, line=LINE, tile=TILE, layout=layout)
    touches, misses = cachegrind(program, graph, order.permutation, layout)
    assert found.accesses == touches == 2 * graph.edges
    # The line of edges, and one or two of the stack, take a place in a set of theirs.
    assert found.misses == pytest.approx(misses, rel=0.03, abs=20)


def cachegrind(
    program: Path, graph: EdgeGraph, permutation: np.ndarray, layout: str
) -> tuple[int, int]:
    """Count loads of vectors, and those that miss."""
    slot, slots = assign_slots(graph, permutation, layout)
    ends = np.stack([slot[graph.sources[permutation]], slot[graph.targets[permutation]]], axis=1)
    out, pages = program.with_name("out"), -(-slots * 64 // 4096)
    cache = "--cache-sim=yes", f"--D1={SIZE},{WAYS},{LINE}", f"--cachegrind-out-file={out}"
    subprocess.run(
        ["valgrind", "--tool=cachegrind", *cache, str(program), str(pages)],
        input=ends.astype(np.int32).tobytes(),
        capture_output=True,
        check=True,
    )
    text = out.read_text().splitlines()
    events = next(line.split()[1:] for line in text if line.startswith("events:"))
    total, inside = dict.fromkeys(events, 0), False
    for line in text:
        if line.startswith("fn="):
            inside = line == "fn=touch"
        elif inside and line[:1].isdigit():
            for event, number in zip(events, line.split()[1:], strict=True):
                total[event] += int(number)
    return total["Dr"] // 2, total["D1mr"]  # to return is a load too
