"""The cut of a ranked list by a budget of tokens, whatever its length."""

import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mining.rounds import Bin, bin_of_cut, take_until

_CUT_BARS = 4096
_ID_DIGITS = 3
"""Hexadecimal: 4096 groups."""
_MOST_REFINEMENTS = 4
_EDGE_PAGES = 1_000_000
"""Pages at the cut that the driver sorts: some 200 MB."""


def cut_by_budget(scores: DataFrame, budget: int) -> tuple[float, str]:
    """(score, page_id) of the last page of the ranked list that fits into a budget of tokens.

    The exact cut without a global sort: a histogram, the bar that the budget ends in refined, its pages
    sorted. At most _EDGE_PAGES pages come to the driver, however many share one score.
    """
    low, high, total = scores.agg(F.min("score"), F.max("score"), F.sum("n_tokens")).collect()[0]
    if total is None or total <= budget:
        return -math.inf, ""
    room, edge = budget, scores
    for _ in range(_MOST_REFINEMENTS):
        width = (high - low) / _CUT_BARS or 1.0
        bar = F.least(F.floor((F.col("score") - low) / width), F.lit(_CUT_BARS - 1))
        counted = edge.groupBy(bar.alias("bar")).agg(
            F.count("*").alias("pages"),
            F.sum("n_tokens").alias("tokens"),
            F.min("score").alias("l"),
            F.max("score").alias("h"),
        )
        rows = sorted(counted.collect(), key=lambda row: -row["bar"])
        index, taken = bin_of_cut([Bin(row["l"], row["pages"], row["tokens"]) for row in rows], room)
        room -= taken
        low, high = rows[index]["l"], rows[index]["h"]
        edge = scores.where((F.col("score") >= low) & (F.col("score") <= high))
        if rows[index]["pages"] <= _EDGE_PAGES or low == high:
            break
    before = ""
    if low == high and rows[index]["pages"] > _EDGE_PAGES:
        edge, room, before = _among_equals(edge, room)
    rows = edge.select("score", "page_id", "n_tokens").collect()
    last = take_until([(row["score"], row["page_id"], row["n_tokens"]) for row in rows], room)
    return last or ((high, before) if before else (math.nextafter(high, math.inf), ""))


def _among_equals(edge: DataFrame, room: int) -> tuple[DataFrame, int, str]:
    """Of pages of one score those that share the first digits of the page_id that the room ends in.

    Returns them, the room that is left for them, and those digits: no page_id before them is larger.
    """
    digits, pages = "", _EDGE_PAGES + 1
    while pages > _EDGE_PAGES:
        head = F.substring("page_id", 1, len(digits) + _ID_DIGITS)
        counted = edge.groupBy(head.alias("head")).agg(F.count("*").alias("pages"), F.sum("n_tokens").alias("tokens"))
        rows = sorted(counted.collect(), key=lambda row: row["head"])
        index, taken = bin_of_cut([Bin(0.0, row["pages"], row["tokens"]) for row in rows], room)
        room -= taken
        digits, pages = rows[index]["head"], rows[index]["pages"]
        edge = edge.where(head == digits)
    return edge, room, digits
