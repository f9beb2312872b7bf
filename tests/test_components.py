"""Connected components on Spark against union-find in plain Python."""

import random
from pathlib import Path

import pytest

from mining.spark.components import connected_components

pytestmark = pytest.mark.spark


def components(spark, tmp_path: Path, edges: list[tuple[str, str]], partitions: int = 3) -> dict[str, str]:
    frame = spark.createDataFrame(edges, "a string, b string").repartition(partitions)
    rows = connected_components(spark, frame, tmp_path / "work").collect()
    assert len(rows) == len({row["node"] for row in rows})  # one row a node
    return {row["node"]: row["component"] for row in rows}


def union_find(edges: list[tuple[str, str]]) -> dict[str, str]:
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {node: root(node) for node in parent}


def test_a_chain_and_a_star_are_one_component_each(spark, tmp_path: Path) -> None:
    chain = [(f"c{i:02d}", f"c{i + 1:02d}") for i in range(30)]
    star = [(f"s{i:02d}", "s00") for i in range(1, 20)]
    found = components(spark, tmp_path, chain + star)
    assert set(found.values()) == {"c00", "s00"}
    assert len(found) == 31 + 20


def test_random_graphs_agree_with_union_find_for_any_partitioning(spark, tmp_path: Path) -> None:
    draw = random.Random(5)
    edges = [(f"n{draw.randrange(300):03d}", f"n{draw.randrange(300):03d}") for _ in range(220)]
    edges = [(a, b) for a, b in edges if a != b]
    expected = union_find(edges)
    assert len(set(expected.values())) > 20  # the graph has many components
    assert components(spark, tmp_path, edges, partitions=1) == expected
    draw.shuffle(edges)
    assert components(spark, tmp_path, edges, partitions=7) == expected


def test_no_edges_give_no_rows(spark, tmp_path: Path) -> None:
    assert components(spark, tmp_path, []) == {}
