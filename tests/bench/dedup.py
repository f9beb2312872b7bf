"""MinHash signatures a CPU second, ours beside datasketch on the same documents, and both estimates' errors.

    python tests/bench/dedup.py [--documents 2000] [--json]

One thread, rates in process time, the two sides in turns, median of five. First version: the planted-cluster
comparison with whole pipelines comes with the deduplication work.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import xxhash
from datasketch import MinHash
from rich.console import Console
from rich.table import Table

from mining.minhash import MinHashConfig, jaccard, signature
from mining.shingles import shingles

ROUNDS = 5


def documents(count: int) -> list[str]:
    """Texts of about 300 words, every second one an edited copy of the one before."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    texts: list[str] = []
    while len(texts) < count:
        base = draw.choices(words, k=300)
        edited = [draw.choice(words) if draw.random() < 0.02 else word for word in base]
        texts += [" ".join(base), " ".join(edited)]
    return texts[:count]


def of_datasketch(hashes: np.ndarray, num_perm: int) -> np.ndarray:
    """The same set through datasketch, with its recommended fast hash."""
    sketch = MinHash(num_perm=num_perm, seed=1, hashfunc=xxhash.xxh32_intdigest)
    sketch.update_batch([value.tobytes() for value in hashes])
    return sketch.hashvalues


def rate(work: Callable[[], object], count: int) -> float:
    """Documents a CPU second."""
    started = time.process_time()
    work()
    return count / (time.process_time() - started)


def rmse(signatures: list[np.ndarray], exact: list[float]) -> float:
    """Root mean square error of the share of equal values as an estimate of Jaccard, over neighbouring pairs."""
    estimates = [float((a == b).mean()) for a, b in zip(signatures[::2], signatures[1::2], strict=True)]
    return float(np.sqrt(np.mean((np.array(estimates) - np.array(exact)) ** 2)))


def main() -> int:
    """Measure, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cfg = MinHashConfig()
    num_perm = cfg.num_bands * cfg.rows_per_band
    sets = [shingles(text, cfg.shingle_size) for text in documents(args.documents // 2 * 2)]
    arrays = [np.array(one, dtype=np.int64) for one in sets]
    exact = [jaccard(a, b) for a, b in zip(sets[::2], sets[1::2], strict=True)]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(rate(lambda: [signature(one, cfg) for one in sets], len(sets)))
        theirs.append(rate(lambda: [of_datasketch(one, num_perm) for one in arrays], len(sets)))
    own_error = rmse([signature(one, cfg) for one in sets], exact)
    their_error = rmse([of_datasketch(one, num_perm) for one in arrays], exact)
    rows = [
        row("signatures_per_cpu_s", statistics.median(ours), statistics.median(theirs), higher_is_better=True),
        row("jaccard_rmse", own_error, their_error, higher_is_better=False),
    ]
    if args.json:
        sys.stdout.write(json.dumps({"rows": rows}) + "\n")
        return 0
    table = Table(title=f"{len(sets):,} documents, {num_perm} permutations")
    for name in rows[0]:
        table.add_column(name)
    for one in rows:
        table.add_row(*(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in one.values()))
    Console().print(table)
    return 0


def row(metric: str, ours: float, theirs: float, *, higher_is_better: bool) -> dict[str, object]:
    """One comparison; a ratio above 1 always means that ours is better."""
    ratio = ours / theirs if higher_is_better else theirs / ours
    case = "300-word documents"
    return {"case": case, "metric": metric, "ours": ours, "peer": "datasketch", "theirs": theirs, "ratio": ratio}


if __name__ == "__main__":
    sys.exit(main())
