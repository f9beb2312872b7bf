"""datatrove's n-gram decontamination filter over JSON lines; run in the peer's own environment.

datatrove_filter.py TEXTS INDEX NGRAM: TEXTS holds {"kind": "benchmark" | "page", "text"}; writes to stdout one line of
JSON {"cpu_s", "hits", "hashes"}: CPU seconds of the filter on the pages, which of them it drops (0 or 1 each, in order)
and the size of its index. The index is written as datatrove's indexer writes it, which itself needs lighteval.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
from datatrove.utils.text import ngrams, simplify_text


def main(texts: Path, index: Path, width: int) -> None:
    """Index the benchmark texts, filter the pages, report."""
    config = NGramsDecontConfig(n_grams=width)
    one = NGramsDecontFilter(str(index), config)
    hashes: set[int] = set()
    pages = []
    for line in texts.open(encoding="utf-8"):
        row = json.loads(line)
        if row["kind"] == "page":
            pages.append(Document(text=row["text"], id=str(len(pages))))
            continue
        words = one.tokenizer.word_tokenize(simplify_text(row["text"], config.norm_config))
        hashes.update(map(one.hash_func, map(" ".join, ngrams(words, width))))
    index.mkdir(exist_ok=True)
    np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(index / "all.index.hashes")
    one.load_index_hashes()
    started = time.process_time()
    hits = [int(one.filter(page) is not True) for page in pages]
    print(json.dumps({"cpu_s": time.process_time() - started, "hits": hits, "hashes": len(hashes)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
