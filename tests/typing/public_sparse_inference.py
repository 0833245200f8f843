"""What a type-checker must find in ``byways.sparse_inference``. Nobody runs this file."""

from __future__ import annotations

from typing import assert_type

import torch

import byways as bw
from byways.sparse_inference import (
    EdgeGraph,
    EdgeOrder,
    EdgeOrderEnv,
    compact_growth,
    order_edges,
    radix_net,
    random_sparse,
    simulate,
    train_order_policy,
)
from byways.sparse_inference._order_policy import OrderPolicy

chain = bw.LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]], [0.0])])
graph = EdgeGraph.from_chain(chain)
assert_type(EdgeGraph.from_torch(torch.nn.Linear(2, 2), 2), EdgeGraph)
assert_type(order_edges(torch.nn.Conv1d(1, 1, 3), input_shape=(1, 8)), EdgeOrder)
assert_type(graph, EdgeGraph)
assert_type(random_sparse([4, 4], 0.5, rng=0), EdgeGraph)
assert_type(radix_net(64, 2, base=16), EdgeGraph)
assert_type(compact_growth(4, 8, 2), EdgeGraph)
order = order_edges(graph, "ego", memory=8)
assert_type(order, EdgeOrder)
assert_type(order.is_valid(graph), bool)
assert_type(simulate(graph, order, memory=8).total, int)
report = train_order_policy(lambda rng: random_sparse([4, 4], 0.5, rng=rng), max_steps=1)
assert_type(report.policy, OrderPolicy)
assert_type(report.best_misses, float)
assert_type(order_edges(graph, "eon", order_policy=report), EdgeOrder)
assert_type(order_edges(graph, "eon", order_policy="policy.npz"), EdgeOrder)
env = EdgeOrderEnv([graph], memory=9)
assert_type(env.order, EdgeOrder)
assert_type(env.step(env.action_space.sample())[1], float)
