"""
A thousand workers, simulated from recorded tasks
=================================================

Three ways to share out one enumeration: first-layer cells dealt out beforehand, the same cells
handed to whoever is free, and tasks that split themselves, as ``workers=`` does. Every task is
worked off in this process; its time is recorded, and schedules for 1 to 1000 workers are
computed from the records. One and two workers are also measured. Run it with ``--full`` for a
larger network, and with ``--thousand`` to split this one for hundreds of workers, in six minutes.
"""

# %%
# Record the tasks
# ----------------
# A simulated worker is as fast as this process, and nothing but tasks costs time: no start of
# workers, no messages. That favours the larger numbers. Times are medians, so that a machine
# whose speed varies favours neither side.

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import byways as bw
from byways.regions._question import Question
from byways.regions._work import whole, work
from byways.runs._simulation import TimedTask, simulate

threadpool_limits(1)  # as in a worker: other threads of linear algebra would count while they wait
FULL = "--full" in sys.argv
N = 13 if FULL else 11
SPLITS = (1, 2, 4, 8, 16, 32, 64, 250, 1000) if FULL else (1, 8, 16, 64, 250)
if "--thousand" in sys.argv:
    SPLITS = (1, 250, 1000)

rng = np.random.default_rng(N)


def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a layer as a fresh ``torch.nn.Linear`` is drawn."""
    bound = inputs**-0.5
    weight = rng.uniform(-bound, bound, (outputs, inputs))
    return weight, rng.uniform(-bound, bound, outputs)


chain = bw.LayerChain.from_arrays([layer(784, N), layer(N, N), layer(N, 1)])
options = {"method": "auto", "solver": "auto", "exact": "float", "tolerance": 1e-9}
question = Question.ask(chain, (0, 1), keep=None, **options)
problem = question.problem()


def walked(prefix: np.ndarray, times: int = 3) -> tuple[float, int]:
    """Walk over a subtree so many times; give the median processor time, and regions."""
    seconds = []
    for _ in range(times):
        start, found = time.process_time(), 0
        walk = question.walk(problem, prefix)
        while not walk.finished:
            found += walk.advance(4096, 10**6).leaves
        seconds.append(time.process_time() - start)
    return float(np.median(seconds)), found


def split(workers: int) -> tuple[list[TimedTask], float]:
    """Work off the tasks that split themselves for a number of workers.

    Give the median of three times of each, and the largest one's share of the counted work.
    """
    results, seconds = [], []
    for _ in range(3):
        waiting, results, times = [whole(None, None, workers)], [], []
        while waiting:
            start = time.process_time()
            results.append(work(question, waiting.pop()))
            times.append(time.process_time() - start)
            waiting += reversed(results[-1].rest)
        seconds.append(times)
    counted = np.array([result.counts["work"] for result in results])
    tasks = [
        TimedTask(result.key, s, tuple(task.key for task in result.rest))
        for result, s in zip(results, np.median(seconds, axis=0), strict=True)
    ]
    return tasks, counted.max() / counted.sum()


bw.regions.count_regions(chain, (0, 1), max_regions=5000)  # whatever is compiled on the way
alone, total = walked(np.zeros(0, dtype=np.uint8), 5)  # all is set against it
print(f"784-{N}-{N}: {total:,} regions in {alone:.2f} s, undivided")
first = bw.regions.enumerate_regions(bw.LayerChain(chain.layers[:1]), (0, 1), keep=("signs",)).signs
cells = [TimedTask(str(i), walked(signs)[0]) for i, signs in enumerate(first)]
print(f"{len(cells)} first-layer cells: {sum(t.seconds for t in cells):.2f} s together")

# %%
# Tasks that know how many workers there are
# ------------------------------------------
# The more workers, the smaller the tasks: none is more than 1/(20 x workers) of the work, counted
# in steps of the search. To begin with a task takes up to half a millisecond, so a question of a
# second is too short for dozens of workers; a larger one feeds more, which ``--full`` shows.

own = {}
for workers in SPLITS:
    own[workers], counted = split(workers)
    times = np.array([task.seconds for task in own[workers]])
    print(
        f"for {workers:4} workers: {len(times):5} tasks, {times.sum():.2f} s together; the largest "
        f"is 1/{1 / counted:.0f} of the counted work, 1/{times.sum() / times.max():.0f} of the "
        f"time, wanted 1/{20 * workers}"
    )

# %%
# Makespan and efficiency
# -----------------------

workers = sorted({*np.geomspace(1, 1000, 25).round().astype(int).tolist(), *SPLITS})
ends = {
    "dealt out beforehand": {w: simulate(cells, w, static=True).makespan for w in workers},
    "taken when free": {w: simulate(cells, w).makespan for w in workers},
    "splitting themselves": {w: simulate(own[w], w).makespan for w in SPLITS},
}
for name, made in ends.items():
    shown = (f"{w}: {made[w]:.3f} s ({alone / w / made[w]:.0%})" for w in SPLITS)
    print(f"{name}: makespan and efficiency for " + ", ".join(shown))

# %%
# Measured
# --------
# Threads here, because the kernels run without Python's lock; ``workers=2`` starts processes. The
# first tasks, a sixteenth of a second, are done by the caller alone. What two cores reach at best
# is shown by two counts side by side that know nothing of each other.


def seconds_of(call: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


count = partial(bw.regions.count_regions, chain, (0, 1))
with ThreadPoolExecutor(1) as single, ThreadPoolExecutor(2) as pair:
    calls = (
        lambda: count(executor=single),
        lambda: count(executor=pair),
        lambda: [future.result() for future in (pair.submit(count), pair.submit(count))],
    )
    rounds = [[seconds_of(call) for call in calls] for _ in range(5)]  # in turns
one, two, both = np.median(rounds, axis=0)
print(
    f"measured: {one:.2f} s, two workers {one / two:.2f} times faster; two counts side by side "
    f"{2 * one / both:.2f} times faster than one after the other"
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, made in ends.items():
    axes[0].loglog(list(made), [alone / end for end in made.values()], ".-", label=name)
    axes[1].semilogx(list(made), [alone / w / end for w, end in made.items()], ".-", label=name)
axes[0].plot([1, 2], [1, one / two], "kx", label="measured")
axes[0].plot(workers, workers, ":", color="0.6")
axes[0].set(xlabel="workers", ylabel="speed-up", title=f"784-{N}-{N}, {alone:.2g} s of work")
axes[1].set(xlabel="workers", ylabel="efficiency", ylim=(0, 1.05), title="Share of time on tasks")
axes[0].legend(fontsize=8)
plt.show()
