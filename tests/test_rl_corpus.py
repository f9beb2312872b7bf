from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rl.corpus import BlockStream, Corpus, CorpusSpec, parse_corpora, parse_where, tokenizer_texts
from rl.errors import ConfigError
from rl.policy import Policy, TinyModelConfig, make_policy, train_tokenizer


def write(folder: Path, texts: list[str], *, language: str = "en", row_group_size: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    table = pa.table({"text": texts, "language": [language] * len(texts)})
    pq.write_table(table, folder / f"{language}.parquet", row_group_size=row_group_size)
    return folder


@pytest.fixture(scope="module")
def policy() -> Policy:
    config = TinyModelConfig(hidden_size=16, num_layers=1, num_heads=2)
    return make_policy(config, train_tokenizer(["a"], vocab_size=300), seed=0, device=torch.device("cpu"))


def test_every_document_comes_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    texts = [f"document {i}" for i in range(10)]
    corpus = Corpus(write(tmp_path / "c", texts), where={}, seed=0)
    epochs = []
    for epoch in range(2):
        found: list[str] = []
        while corpus.epoch == epoch:
            found.extend(corpus.documents(4))
        epochs.append(found)
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(texts)
    assert epochs[0] != epochs[1]


def test_where_keeps_only_the_named_rows(tmp_path: Path) -> None:
    write(tmp_path / "c", ["one"], language="en")
    write(tmp_path / "c", ["uno"], language="es")
    write(tmp_path / "c", ["yi"], language="zh")
    specs = [CorpusSpec(tmp_path / "c", 1.0)]
    found = set(tokenizer_texts(specs, where=parse_where("language=en|zh"), max_bytes=100))
    assert found == {"one", "yi"}
    with pytest.raises(ConfigError, match="no text in it with"):
        Corpus(tmp_path / "c", where={"language": {"fr"}}, seed=0)


def test_weights_are_shares_of_the_tokens(tmp_path: Path, policy: Policy) -> None:
    specs = [
        CorpusSpec(write(tmp_path / "short", ["a" * 5] * 9), 3.0),
        CorpusSpec(write(tmp_path / "long", ["b" * 40] * 9), 1.0),
    ]
    stream = BlockStream(specs, policy, block_size=50, where={}, seed=0)
    for _ in range(40):
        stream.next_block()
    assert stream.drawn[0] / sum(stream.drawn) == pytest.approx(0.75, abs=0.03)


def test_blocks_overlap_by_one_token_and_lose_none(tmp_path: Path, policy: Policy) -> None:
    stream = BlockStream(
        [CorpusSpec(write(tmp_path / "c", ["ab", "cde"]), 1.0)], policy, block_size=4, where={}, seed=0
    )
    blocks = [stream.next_block() for _ in range(7)]
    assert all(len(block) == 5 for block in blocks)
    assert all(left[-1] == right[0] for left, right in pairwise(blocks))
    end = policy.tokenizer.eos_token_id
    joined = [token for block in blocks for token in block[:4]]  # 28 tokens: four epochs of (2 + 1) + (3 + 1)
    assert joined.count(end) == 8


def test_a_sought_stream_goes_on_as_if_never_stopped(tmp_path: Path, policy: Policy) -> None:
    specs = [
        CorpusSpec(write(tmp_path / "a", [f"first {i} " * (i % 4 + 1) for i in range(7)]), 1.0),
        CorpusSpec(write(tmp_path / "b", [f"second {i}" for i in range(200)]), 0.5),
    ]

    def fresh() -> BlockStream:
        return BlockStream(specs, policy, block_size=16, where={}, seed=5)

    whole = fresh()
    blocks = [whole.next_block() for _ in range(30)]
    half = fresh()
    for _ in range(11):
        half.next_block()
    resumed = fresh()
    resumed.seek(half.cursor())
    assert [resumed.next_block() for _ in range(19)] == blocks[11:]


@pytest.mark.parametrize("text", ["", "a=x", "a=0", "a=-1"])
def test_bad_corpus_lists_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_corpora(text)


def test_missing_folder_column_and_filter_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Parquet files"):
        Corpus(tmp_path / "nowhere", where={}, seed=0)
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="no column text"):
        Corpus(tmp_path / "x.parquet", where={}, seed=0)
    with pytest.raises(ConfigError, match="expected column=value"):
        parse_where("language")
