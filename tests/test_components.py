"""Connected components, in memory and on Spark, against union-find in plain Python."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from mining.duplicates import components_of
from mining.spark.components import connected_components

Edges = list[tuple[int, int]]


def on_spark(spark, tmp_path: Path, edges: Edges, partitions: int = 3) -> dict[int, int]:
    frame = spark.createDataFrame(edges, "a bigint, b bigint").repartition(partitions)
    rows = connected_components(spark, frame, tmp_path / "work", driver_edges=0).collect()
    assert len(rows) == len({row["node"] for row in rows})  # one row a node
    return {row["node"]: row["component"] for row in rows}


def in_memory(edges: Edges) -> dict[int, int]:
    nodes, components = components_of(np.array([a for a, _ in edges]), np.array([b for _, b in edges]))
    return dict(zip(nodes.tolist(), components.tolist(), strict=True))


def union_find(edges: Edges) -> dict[int, int]:
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {node: root(node) for node in parent}


def chain_star_and_random() -> Edges:
    draw = random.Random(5)
    chain = [(i, i + 1) for i in range(1000, 1030)]
    star = [(2000, i) for i in range(2001, 2020)]
    loose = [(draw.randrange(300), draw.randrange(300)) for _ in range(220)]
    return [*chain, *star, *((a, b) for a, b in loose if a != b)]


def test_components_in_memory_are_those_of_union_find():
    edges = chain_star_and_random()
    expected = union_find(edges)
    assert len(set(expected.values())) > 20  # the graph has many components
    assert in_memory(edges) == in_memory(edges[::-1]) == expected


def test_a_shuffled_chain_of_ten_thousand_is_one_component():
    names = list(range(10_000))
    random.Random(1).shuffle(names)
    found = in_memory(list(itertools.pairwise(names)))
    assert set(found.values()) == {0} and len(found) == 10_000


@pytest.mark.spark
def test_components_on_spark_are_those_of_union_find_for_any_partitioning(spark, tmp_path: Path) -> None:
    edges = chain_star_and_random()
    expected = union_find(edges)
    assert on_spark(spark, tmp_path, edges, partitions=1) == expected
    random.Random(2).shuffle(edges)
    assert on_spark(spark, tmp_path, edges, partitions=5) == expected


@pytest.mark.spark
def test_a_small_graph_on_the_driver_gives_the_same(spark, tmp_path: Path) -> None:
    edges = chain_star_and_random()
    frame = spark.createDataFrame(edges, "a bigint, b bigint")
    rows = connected_components(spark, frame, tmp_path / "work").collect()
    assert {row["node"]: row["component"] for row in rows} == union_find(edges)


@pytest.mark.spark
@pytest.mark.slow
def test_a_chain_of_ten_thousand_takes_few_rounds_on_spark(spark, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mining.spark.components._MAX_ROUNDS", 20)
    names = list(range(10_000))
    random.Random(1).shuffle(names)
    assert set(on_spark(spark, tmp_path, list(itertools.pairwise(names))).values()) == {0}


@pytest.mark.spark
def test_no_edges_give_no_rows(spark, tmp_path: Path) -> None:
    assert on_spark(spark, tmp_path, []) == {}
