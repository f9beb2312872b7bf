"""Connected components of a graph of page pairs.

Alternating large-star and small-star (Kiveris et al. 2014, "Connected Components in MapReduce and Beyond"): every
round links nodes to smaller neighbours, in O(log^2 n) rounds whatever the shape; no node's neighbours are ever held
in one place, so a cluster of a million pages is a million rows. Each round is written down, so that lineage stays
short and a lost executor costs one round.

A graph that the driver holds with ease is solved there: rounds are some twenty Spark jobs, seconds for any graph.
"""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from mining.duplicates import components_of
from mining.errors import ShardError
from mining.store import remove

_MAX_ROUNDS = 100
DRIVER_EDGES = 2_000_000
"""Edges up to which a graph goes to the driver: 32 MB there and some 100 MB while it is solved."""


def connected_components(
    session: SparkSession, edges: DataFrame, work_dir: Path, *, driver_edges: int = DRIVER_EDGES
) -> DataFrame:
    """(node, component) for every node of the edges (a bigint, b bigint); a component is named by its smallest node.

    work_dir: scratch folder for the rounds. The result does not depend on partitioning, on the order of edges, or on
    where it was computed: graphs of more than `driver_edges` edges are solved by Spark.
    """
    remove(work_dir)
    if edges.count() <= driver_edges:
        table = edges.select("a", "b").toArrow()
        nodes, components = components_of(table["a"].to_numpy(), table["b"].to_numpy())
        return session.createDataFrame(pa.table({"node": nodes, "component": components}))
    current = _write(session, edges.where("a != b").select("a", "b").distinct(), work_dir / "0")
    before = _checksum(current)
    for number in range(1, _MAX_ROUNDS):
        current = _write(session, _small_star(_large_star(current)), work_dir / str(number))
        remove(work_dir / str(number - 1))
        after = _checksum(current)
        if after == before:
            members = current.select(F.col("a").alias("node"), F.col("b").alias("component"))
            return members.union(members.select(F.col("component").alias("node"), "component")).distinct()
        before = after
    raise ShardError(f"connected components: not done after {_MAX_ROUNDS} rounds; the edges change between reads")


def _large_star(edges: DataFrame) -> DataFrame:
    """Every neighbour above a node is linked to the smallest of the node and its neighbours."""
    both = edges.union(edges.select(F.col("b").alias("a"), F.col("a").alias("b")))
    smallest = F.least(F.col("a"), F.min("b").over(Window.partitionBy("a")))
    return both.withColumn("m", smallest).where("b > a").select(F.col("b").alias("a"), F.col("m").alias("b")).distinct()


def _small_star(edges: DataFrame) -> DataFrame:
    """Every node and its smaller neighbours are linked to the smallest of them."""
    down = edges.select(F.greatest("a", "b").alias("a"), F.least("a", "b").alias("b"))
    withm = down.withColumn("m", F.min("b").over(Window.partitionBy("a")))
    neighbours = withm.where("b != m").select(F.col("b").alias("a"), F.col("m").alias("b"))
    return neighbours.union(withm.select("a", F.col("m").alias("b"))).distinct()


def _write(session: SparkSession, frame: DataFrame, path: Path) -> DataFrame:
    frame.write.parquet(str(path))
    return session.read.schema(frame.schema).parquet(str(path))


def _checksum(edges: DataFrame) -> tuple[int, str]:
    row = edges.agg(F.count("*"), F.sum(F.xxhash64("a", "b").cast("decimal(38,0)"))).collect()[0]
    return row[0], str(row[1])
