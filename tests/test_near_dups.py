"""The three passes of deduplication, in memory and on Spark, over pages written here."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mining.band_index import BandIndex, open_indexes, publish_index
from mining.dedup import dedup
from mining.duplicates import band_pairs
from mining.errors import ConfigError, StoreError
from mining.minhash import DedupConfig, MinHashConfig
from mining.page import PAGES_SCHEMA
from mining.spark.near_dups import find_duplicates
from mining.spark.tables import write_table
from mining.store import Store

_DRAW = random.Random(3)
_WORDS = ["".join(_DRAW.choices("abcdefghijklmnopqrstuvwxyz", k=_DRAW.randint(3, 9))) for _ in range(2000)]
Found = dict[str, tuple[str, str, float]]
Search = Callable[..., Found]


def words(seed: int, count: int = 200) -> list[str]:
    return random.Random(seed).choices(_WORDS, k=count)


def page(page_id: str, url: str, text: str, *, formulas: int = 0, date: str = "2024-01-01T00:00:00Z",
         crawl: str = "C1") -> dict:  # fmt: skip
    row = dict.fromkeys(PAGES_SCHEMA.names)
    return row | {
        "page_id": page_id, "url": url, "text": text, "n_chars": len(text), "formulas_kept": formulas,
        "fetch_time": date, "crawl": crawl,
    }  # fmt: skip


def write_pages(pages: list[dict], folder: Path, files: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(files):
        pq.write_table(pa.Table.from_pylist(pages[number::files], PAGES_SCHEMA), folder / f"{number}.parquet")
    return folder


def as_found(rows: list[dict]) -> Found:
    assert len({row["page_id"] for row in rows}) == len(rows)
    return {row["page_id"]: (row["kept_id"], row["kind"], round(row["jaccard"], 3)) for row in rows}


def in_memory(folder: Path, pages: list[dict], files: int, cfg: DedupConfig, earlier: Sequence[BandIndex]) -> Found:
    source = write_pages(pages, folder / "pages", files)
    table = folder / "duplicates"
    dedup(source, keys=folder / "work" / "keys", table=table, cfg=cfg, earlier=earlier, num_workers=1)
    return as_found(pq.read_table(table).to_pylist())


def on_spark(
    spark, folder: Path, pages: list[dict], files: int, cfg: DedupConfig, earlier: Sequence[BandIndex]
) -> Found:
    frame = spark.read.parquet(str(write_pages(pages, folder / "pages", files)))
    found = find_duplicates(spark, frame, work_dir=folder / "work", cfg=cfg, earlier=earlier)
    write_table(found, folder / "duplicates")
    return as_found(pq.read_table(folder / "duplicates").to_pylist())


def searching(engine: Callable[..., Found], tmp_path: Path) -> Search:
    """Finds the duplicates of pages; leaves `work/keys` and `duplicates` under the folder `name`."""

    def found(
        pages: list[dict], *, files: int = 2, name: str = "run", cfg: DedupConfig | None = None,
        earlier: Sequence[BandIndex] = (),
    ) -> Found:  # fmt: skip
        return engine(tmp_path / name, pages, files, cfg or DedupConfig(), earlier)

    return found


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """The search in memory; that Spark finds the same is a test of its own."""
    return searching(in_memory, tmp_path)


@pytest.fixture(params=["memory", pytest.param("spark", marks=pytest.mark.spark)])
def either_search(request: pytest.FixtureRequest, tmp_path: Path) -> Search:
    """The search on both engines, for what the comparison of the two does not try."""
    engine = partial(on_spark, request.getfixturevalue("spark")) if request.param == "spark" else in_memory
    return searching(engine, tmp_path)


def test_each_kind_is_found_and_names_the_page_that_stays(search: Search) -> None:
    base = words(1)
    edited = [*base[:100], "changed", *base[101:]]
    found = search([
        page("a", "https://x.org/p", " ".join(base), formulas=3),
        page("b", "http://www.x.org/p/?utm_source=mail", "another text altogether, captured later"),
        page("c", "https://y.org/copy", "  ".join(base), formulas=1),  # other white space
        page("d", "https://z.org/near", " ".join(edited)),
        page("e", "https://z.org/else", " ".join(words(2))),
        page("f", "https://z.org/empty", "."),
        page("g", "https://y.org/empty", "."),
    ])  # fmt: skip
    assert found == {
        "b": ("a", "url", 0.0),  # the similarity is that of the texts
        "c": ("a", "exact", 1.0),
        # 200 words, 5-word shingles: 196; one changed word touches 5, so 191 are shared of 196 + 5.
        "d": ("a", "near", round(191 / 201, 3)),
        "g": ("f", "exact", 1.0),
    }


def worksheet(seed: int, sentence: str) -> str:
    draw = random.Random(seed)
    return "\n".join(f"{i}. " + sentence.format(draw.randrange(2, 999), draw.randrange(2, 999)) for i in range(1, 41))


@pytest.mark.parametrize(
    "sentence",
    [
        "Compute {} + {} =",
        # Two numbers in 20 words and one in 21: half and four fifths of the 5-word shingles hold none and are equal.
        "A farmer of our village has {} brown hens and his good neighbour on the hill has {} of the white kind.",
        "How many eggs will a farmer of our little village sell on the market of the town if he has {} brown hens?",
    ],
)
def test_worksheets_with_other_numbers_are_different_pages(search: Search, sentence: str) -> None:
    sheets = [page(f"p{i}", f"https://x.org/{i}", worksheet(i, sentence)) for i in range(3)]
    assert search(sheets) == {}


def test_a_date_and_a_counter_do_not_keep_a_copy(search: Search) -> None:
    text = " ".join(words(30))
    pages = [page(f"p{i}", f"https://x.org/{i}", f"{text} Viewed 10{i} times since 200{i}") for i in range(2)]
    assert set(search(pages)) == {"p1"}


def test_short_pages_stay_unless_they_are_equal(search: Search) -> None:
    different = [page(f"s{i:02d}", f"https://x.org/{i}", f"Exercise {i}: prove it.") for i in range(30)]
    equal = [page("t1", "https://y.org/1", "See the answer"), page("t2", "https://y.org/2", "“See the answer.”")]
    grown = " ".join(words(8, 18))
    longer = [page("u1", "https://z.org/1", grown), page("u2", "https://z.org/2", f"{grown} more")]
    # 14 of 15 shingles of five words are shared.
    assert search([*different, *equal, *longer]) == {"t1": ("t2", "near", 1.0), "u1": ("u2", "near", 0.933)}


def test_the_page_with_more_formulas_then_more_text_then_newer_stays(search: Search) -> None:
    text = " ".join(words(4))
    rows = [
        page("a", "https://x.org/1", text, formulas=1, date="2024-01-01T00:00:00Z"),
        page("b", "https://x.org/2", text, formulas=2, date="2020-01-01T00:00:00Z"),
        page("c", "https://x.org/3", text, formulas=2, date="2023-01-01T00:00:00Z"),
        page("d", "https://x.org/4", text, formulas=2, date=None),
        page("e", "https://x.org/5", text + " longer", formulas=1),
    ]
    assert {kept for kept, *_ in search(rows).values()} == {"c"}


def test_a_kept_page_is_never_removed_along_a_chain_of_kinds(search: Search) -> None:
    base = words(6)
    longer = [*base, "one", "more", "line"]
    found = search([
        page("a", "https://x.org/p", " ".join(longer)),  # stays: longest
        page("b", "https://y.org/q", " ".join(base), date="2024-02-01T00:00:00Z"),  # near a
        page("c", "https://z.org/r", " ".join(base)),  # equal to b
        page("d", "https://z.org/r?utm_medium=x", "short"),  # URL twin of c
    ])  # fmt: skip
    assert {page_id: row[0] for page_id, row in found.items()} == {"b": "a", "c": "a", "d": "a"}
    assert found["c"][2] == found["b"][2] == round(196 / 199, 3) and found["d"][2] == 0.0


def test_a_chain_of_neighbours_does_not_swallow_what_is_far(search: Search) -> None:
    # Windows of 300 words, each 30 further: neighbours share 266 of 326 shingles (0.82), the second next 0.65,
    # the third next 0.51, the fourth next 0.41.
    stream = words(40, 900)
    pages = [page(f"p{i:02d}", f"https://x.org/{i}", " ".join(stream[30 * i : 30 * i + 300])) for i in range(20)]
    found = search(pages)
    kept = {p["page_id"] for p in pages} - set(found)
    assert 3 <= len(kept) <= 10
    assert all(row[2] >= 0.6 for row in found.values())
    assert all(row[0] in kept for row in found.values())


def cluster_pages(crawl_of: Callable[[int], str] = lambda copy: "C1") -> list[dict]:
    draw = random.Random(9)
    rows = []
    for cluster in range(12):
        base = words(100 + cluster)
        for copy in range(4):
            text = list(base)
            for _ in range(copy):
                text[draw.randrange(len(text))] = draw.choice(_WORDS)
            rows.append(
                page(f"{cluster:02d}-{copy}", f"https://h{copy}.org/{cluster}", " ".join(text), crawl=crawl_of(copy))
            )
    return rows


def test_the_result_does_not_depend_on_files_or_the_order_of_rows(search: Search) -> None:
    rows = cluster_pages()
    one = search(rows, files=1, name="one")
    assert len(one) == 36  # 12 clusters of 4, one stays of each
    random.Random(1).shuffle(rows)
    assert search(rows, files=5, name="five") == one


@pytest.mark.spark
def test_spark_and_memory_find_the_same(spark, tmp_path: Path) -> None:
    draw = random.Random(17)
    rows = [row | {"formulas_kept": draw.randrange(2)} for row in cluster_pages()]
    rows += [page(f"x{i}", rows[i]["url"] + "?utm_source=a", " ".join(words(i))) for i in range(5)]
    rows += [page(f"y{i}", f"https://y.org/{i}", rows[i]["text"] + " \n") for i in range(7)]
    stream = words(41, 1500)
    rows += [page(f"z{i:02d}", f"https://z.org/{i}", " ".join(stream[30 * i : 30 * i + 300])) for i in range(40)]
    memory = in_memory(tmp_path / "memory", rows, 3, DedupConfig(), [])
    draw.shuffle(rows)
    assert on_spark(spark, tmp_path / "spark", rows, 5, DedupConfig(), []) == memory
    assert {kind for _, kind, _ in memory.values()} == {"url", "exact", "near"}


def test_each_crawl_by_itself_keeps_a_page_a_crawl(either_search: Search) -> None:
    rows = cluster_pages(lambda copy: f"C{copy % 2}")
    found = either_search(rows, cfg=DedupConfig(scope="crawl"))
    assert len(found) == 24
    crawl = {row["page_id"]: row["crawl"] for row in rows}
    assert all(crawl[page_id] == crawl[row[0]] for page_id, row in found.items())


def index_of(folder: Path) -> BandIndex:
    return BandIndex(folder / "work" / "keys", folder / "duplicates", folder.name)


def test_a_new_crawl_against_an_index_is_one_run_in_which_the_earlier_crawl_wins(
    either_search: Search, tmp_path: Path
) -> None:
    rows = cluster_pages(lambda copy: "C1" if copy < 2 else "C2")
    for row in rows:
        row["formulas_kept"] = 5 if row["crawl"] == "C2" else 0  # better, but later
    rows += [page(f"n{i}", f"https://new.org/{i}", " ".join(words(700 + i)), crawl="C2") for i in range(4)]
    rows += [page("n9", "https://h1.org/3?utm_source=x", "moved", crawl="C2")]  # URL twin of a page that went itself
    first = [row for row in rows if row["crawl"] == "C1"]
    second = [row for row in rows if row["crawl"] == "C2"]
    joint = either_search(rows, name="joint", cfg=DedupConfig(prefer="earliest_crawl"))
    alone = either_search(first, name="first")
    after = either_search(second, name="second", earlier=[index_of(tmp_path / "first")])
    assert set(alone) | set(after) == set(joint)
    assert len(alone) == 12 and len(after) == 25
    staying = {row["page_id"] for row in first} - set(alone)
    assert {row[0] for row in after.values()} <= staying  # an old page, and one that stayed in its own run
    third = either_search(cluster_pages(lambda copy: "C3"), name="third",
                   earlier=[index_of(tmp_path / "first"), index_of(tmp_path / "second")])  # fmt: skip
    assert len(third) == 48  # the same page_ids again: all go


def finished_run(folder: Path, cfg: MinHashConfig, earlier: Sequence[BandIndex] = ()) -> Store:
    store = Store(folder)
    store.open()
    (folder / "rows").mkdir()
    publish_index(folder / "rows", folder / "band_index", cfg=cfg, earlier=earlier)
    store.finish("dedup", inputs_hash=f"hash-{folder.name}", started="2024-01-01", seconds=1.0)
    return store


def test_an_index_of_other_settings_is_refused_with_both_values(tmp_path: Path) -> None:
    finished_run(tmp_path / "one", MinHashConfig(num_bands=20, seed=3))
    with pytest.raises(ConfigError, match="num_bands: 20 there, 14 here; seed: 3 there, 1 here"):
        open_indexes(DedupConfig(against=[str(tmp_path / "one")]), str(tmp_path / "new"))
    matching = DedupConfig(minhash=MinHashConfig(num_bands=20, seed=3), against=[str(tmp_path / "one")])
    assert [index.inputs_hash for index in open_indexes(matching, str(tmp_path / "new"))] == ["hash-one"]


def test_runs_that_cannot_be_compared_with_are_refused(tmp_path: Path) -> None:
    finished_run(tmp_path / "one", MinHashConfig())
    indexes = open_indexes(DedupConfig(against=[str(tmp_path / "one")]), "new")
    finished_run(tmp_path / "two", MinHashConfig(), earlier=indexes)
    for named, message in (
        (["absent"], "no manifest.json"),
        (["new"], "own directory"),
        (["two"], "hash-one.*name that run directory, too"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_indexes(DedupConfig(against=[str(tmp_path / name) for name in named]), str(tmp_path / "new"))
    (tmp_path / "one" / "band_index" / "_index.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        open_indexes(DedupConfig(against=[str(tmp_path / "one")]), "new")


def test_a_damaged_page_table_is_named(tmp_path: Path) -> None:
    source = write_pages([page("a", "https://x.org/1", " ".join(words(1)))], tmp_path / "pages", 1)
    file = source / "0.parquet"
    whole = bytearray(file.read_bytes())
    whole[8:200] = b"x" * 192  # within the first column's pages; the footer is whole
    file.write_bytes(whole)
    with pytest.raises(StoreError, match=r"0\.parquet: damaged Parquet"):
        dedup(source, keys=tmp_path / "k", table=tmp_path / "d", cfg=DedupConfig(), earlier=[], num_workers=1)
    assert not (tmp_path / "d").exists()


def test_workers_index_the_files_as_one_process_does(tmp_path: Path) -> None:
    source = write_pages(cluster_pages(), tmp_path / "pages", 3)
    for workers in (1, 2):
        dedup(source, keys=tmp_path / f"k{workers}", table=tmp_path / f"d{workers}", cfg=DedupConfig(), earlier=[],
              num_workers=workers)  # fmt: skip
    assert pq.read_table(tmp_path / "d1").equals(pq.read_table(tmp_path / "d2"))
    assert pq.read_table(tmp_path / "k1").equals(pq.read_table(tmp_path / "k2"))


def test_large_bands_give_linear_pairs_and_stay_connected() -> None:
    a, b = band_pairs(np.repeat([7, 8], [100_000, 5]), np.arange(100_005))
    large = b < 100_000
    assert large.sum() == 99_999 + 99_998
    assert set(b[large & (a == 0)]) == set(range(1, 100_000))
    assert (~large).sum() == 10 and (a < b).all()
    assert len(band_pairs(np.empty(0, np.int64), np.empty(0, np.int64))[0]) == 0


def test_a_template_of_two_thousand_pages_leaves_one(search: Search) -> None:
    # 200 words of template and 6 of each page's own: 0.9 and more.
    template = " ".join(words(50))
    rows = [page(f"t{i:04d}", f"https://x.org/{i}", f"{template} {' '.join(words(1000 + i, 6))}") for i in range(2000)]
    found = search(rows, files=3)
    assert len(found) == 1999 and len({row[0] for row in found.values()}) == 1
