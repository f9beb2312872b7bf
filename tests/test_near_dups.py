"""The three passes of deduplication on Spark, over pages written here."""

import random
from pathlib import Path

import pytest

from mining.minhash import MinHashConfig
from mining.page import PAGES_SCHEMA
from mining.spark.near_dups import bucket_pairs, find_duplicates

pytestmark = pytest.mark.spark

_DRAW = random.Random(3)
_WORDS = ["".join(_DRAW.choices("abcdefghijklmnopqrstuvwxyz", k=_DRAW.randint(3, 9))) for _ in range(2000)]


def words(seed: int, count: int = 200) -> list[str]:
    return random.Random(seed).choices(_WORDS, k=count)


def page(page_id: str, url: str, text: str, *, formulas: int = 0, date: str = "2024-01-01T00:00:00Z") -> dict:
    row = dict.fromkeys(PAGES_SCHEMA.names)
    return row | {
        "page_id": page_id, "url": url, "text": text, "n_chars": len(text), "formulas_kept": formulas,
        "fetch_time": date,
    }  # fmt: skip


def duplicates(spark, tmp_path: Path, pages: list[dict], partitions: int = 2) -> dict[str, tuple[str, str, float]]:
    schema = "page_id string, url string, text string, n_chars int, formulas_kept int, fetch_time string"
    names = schema.replace(" string", "").replace(" int", "").split(", ")
    frame = spark.createDataFrame([tuple(row[name] for name in names) for row in pages], schema)
    found = find_duplicates(spark, frame.repartition(partitions), work_dir=tmp_path / "work", cfg=MinHashConfig())
    return {row["page_id"]: (row["kept_id"], row["kind"], round(row["jaccard"], 3)) for row in found.collect()}


def test_each_kind_is_found_and_names_the_page_that_stays(spark, tmp_path: Path) -> None:
    base = words(1)
    edited = [*base[:100], "changed", *base[101:]]
    found = duplicates(
        spark,
        tmp_path,
        [
            page("a", "https://x.org/p", " ".join(base), formulas=3),
            page("b", "http://www.x.org/p/?utm_source=mail", "another text altogether, captured later"),
            page("c", "https://y.org/copy", "  ".join(base), formulas=1),  # other white space
            page("d", "https://z.org/near", " ".join(edited)),
            page("e", "https://z.org/else", " ".join(words(2))),
        ],
    )
    # 200 words, 5-word shingles: 196; one changed word touches 5, so 191 are shared of 196 + 5.
    assert found == {"b": ("a", "url", 1.0), "c": ("a", "exact", 1.0), "d": ("a", "near", round(191 / 201, 3))}


def test_worksheets_with_other_numbers_are_different_pages(spark, tmp_path: Path) -> None:
    def worksheet(seed: int) -> str:
        draw = random.Random(seed)
        return "\n".join(f"{i}. Compute {draw.randrange(100)} + {draw.randrange(100)} =" for i in range(1, 41))

    assert (
        duplicates(
            spark, tmp_path, [page("a", "https://x.org/1", worksheet(1)), page("b", "https://x.org/2", worksheet(2))]
        )
        == {}
    )


def test_the_page_with_more_formulas_then_more_text_then_newer_stays(spark, tmp_path: Path) -> None:
    text = " ".join(words(4))
    rows = [
        page("a", "https://x.org/1", text, formulas=1, date="2024-01-01T00:00:00Z"),
        page("b", "https://x.org/2", text, formulas=2, date="2020-01-01T00:00:00Z"),
        page("c", "https://x.org/3", text, formulas=2, date="2023-01-01T00:00:00Z"),
    ]
    assert {kept for kept, *_ in duplicates(spark, tmp_path, rows).values()} == {"c"}


def test_a_kept_page_is_never_removed_along_a_chain_of_kinds(spark, tmp_path: Path) -> None:
    base = words(6)
    longer = [*base, "one", "more", "line"]
    found = duplicates(
        spark,
        tmp_path,
        [
            page("a", "https://x.org/p", " ".join(longer)),  # stays: longest
            page("b", "https://y.org/q", " ".join(base), formulas=0, date="2024-02-01T00:00:00Z"),  # near a
            page("c", "https://z.org/r", " ".join(base)),  # equal to b
            page("d", "https://z.org/r?utm_medium=x", "short"),  # URL twin of c
        ],
    )
    assert {page_id: row[0] for page_id, row in found.items()} == {"b": "a", "c": "a", "d": "a"}


def test_the_result_does_not_depend_on_partitions(spark, tmp_path: Path) -> None:
    draw = random.Random(9)
    rows = []
    for cluster in range(12):
        base = words(100 + cluster)
        for copy in range(4):
            text = list(base)
            for _ in range(copy):
                text[draw.randrange(len(text))] = draw.choice(_WORDS)
            rows.append(page(f"{cluster:02d}-{copy}", f"https://h{copy}.org/{cluster}", " ".join(text)))
    one = duplicates(spark, tmp_path, rows, partitions=1)
    assert len(one) == 36  # 12 clusters of 4, one stays of each
    draw.shuffle(rows)
    assert duplicates(spark, tmp_path, rows, partitions=5) == one


def test_large_buckets_give_linear_pairs_and_stay_connected() -> None:
    ids = [f"{i:03d}" for i in range(100)]
    pairs = bucket_pairs(ids)
    assert len(pairs) == 99 + 98
    assert {b for a, b in pairs if a == "000"} == set(ids[1:])
    assert len(bucket_pairs(ids[:5])) == 10
