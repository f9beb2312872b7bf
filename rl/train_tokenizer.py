"""Trains a byte-level BPE whose digits stand alone, on a mix of corpora, and saves it as a Hugging Face folder.

For a model made from nothing. A continued pre-training keeps its base model's tokenizer, as the paper does.

    python rl/train_tokenizer.py --corpora runs/demo/pages --vocab_size 2048 --out_dir models/tokenizer
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from rl.corpus import parse_corpora, parse_where, tokenizer_texts
from rl.errors import ConfigError
from rl.policy import train_tokenizer
from rl.settings import launch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizerConfig:
    """Settings of a tokenizer."""

    corpora: str = ""
    """PATH[,PATH]: folders of Parquet tables with a text column, read in turn."""
    where: str = ""
    """Rows to keep, as column=value|value,... ; empty keeps all."""
    vocab_size: int = 2048
    """Entries, with the 256 bytes and two special tokens."""
    max_bytes: int = 5_000_000
    """Text to learn from, in UTF-8 bytes."""
    out_dir: str = "models/tokenizer"
    """Folder to write."""


def main(settings: TokenizerConfig) -> None:
    if settings.vocab_size < 300:
        raise ConfigError(f"vocab_size={settings.vocab_size}: the bytes and special tokens alone need 258; use >= 300")
    texts = tokenizer_texts(
        parse_corpora(settings.corpora), where=parse_where(settings.where), max_bytes=settings.max_bytes
    )
    tokenizer = train_tokenizer(texts, vocab_size=settings.vocab_size)
    tokenizer.save_pretrained(Path(settings.out_dir))
    logger.info("tokenizer of %d entries in %s", len(tokenizer), settings.out_dir)


if __name__ == "__main__":
    sys.exit(launch(main, TokenizerConfig))
