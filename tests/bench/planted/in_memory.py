"""rensa's and datasketch's LSH as their documentation shows it: one process, shingles in Python, union-find.

in_memory.py rensa|datasketch PAGES OUT SHINGLE_SIZE: the documents that stay are written to OUT.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

NUM_BANDS, ROWS = 14, 8


def rensa_lsh() -> Callable[[int, list[str]], list[int]]:
    """Enters a document and returns those entered before that share a band."""
    from rensa import RMinHash, RMinHashLSH

    lsh = RMinHashLSH(threshold=0.7, num_perm=NUM_BANDS * ROWS, num_bands=NUM_BANDS)

    def enter(number: int, shingles: list[str]) -> list[int]:
        sketch = RMinHash(num_perm=NUM_BANDS * ROWS, seed=1)
        sketch.update(shingles)
        near = lsh.query(sketch)
        lsh.insert(number, sketch)
        return near

    return enter


def datasketch_lsh() -> Callable[[int, list[str]], list[int]]:
    """The same, with the fast hash that datasketch recommends."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=NUM_BANDS * ROWS, params=(NUM_BANDS, ROWS))

    def enter(number: int, shingles: list[str]) -> list[int]:
        sketch = MinHash(num_perm=NUM_BANDS * ROWS, seed=1, hashfunc=xxhash.xxh32_intdigest)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        near = lsh.query(sketch)
        lsh.insert(number, sketch)
        return near

    return enter


def word_shingles(text: str, size: int) -> list[str]:
    """The distinct runs of `size` words; of a shorter text all of it."""
    words = text.split()
    return list({" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))})


def pages_of(folder: Path) -> Iterator[tuple[str, str]]:
    """(page_id, text) of every page."""
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["page_id", "text"]):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def main() -> None:
    """Keep the first page of every component."""
    name, pages, out, size = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    enter = {"rensa": rensa_lsh, "datasketch": datasketch_lsh}[name]()
    parents: list[int] = []

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for number, (_, text) in enumerate(pages_of(pages)):
        parents.append(number)
        for other in enter(number, word_shingles(text, size)):
            low, high = sorted((root(number), root(other)))
            parents[high] = low
    table = pq.read_table(pages)
    pq.write_table(table.filter([root(number) == number for number in range(len(parents))]), out)


if __name__ == "__main__":
    main()
