"""OpenWebMath's extractor as a process of its own: pickled (html, url) on stdin, a pickled Outcome's fields on stdout.

Run by `peers.OpenWebMath` with the Python of the environment that holds openwebmath-text-extract and the old
resiliparse that it needs.
"""

import os
import pickle
import sys

from text_extract.extract import extract_text
from timed import timed

# Its configs/randomized_all.yaml at the most probable value of each random choice. One departure in its favour:
# remove_chinese would drop every line that starts with a CJK character.
CONFIG = {
    "markdown_headings": True,
    "markdown_code": True,
    "boilerplate_config": {"ratio_threshold": 0.18, "absolute_threshold": 10, "end_threshold": 15, "enable": True},
    "remove_buttons": True,
    "remove_image_figures": True,
    "remove_link_clusters": True,
    "table_config": {"min_rows": 2, "min_cols": 3, "format": "plain"},
    "remove_chinese": False,
    "remove_edit_buttons": True,
    "extract_latex": True,
}


def extracted(html: str, url: str) -> str:
    """Its text."""
    return extract_text(html, CONFIG)[0]


def main() -> None:
    """Answer pages until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the extractor prints while it works
    while True:
        try:
            html, url = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        outcome = timed(extracted, html, url)
        pickle.dump((outcome.text, outcome.cpu_s, outcome.error), answers)
        answers.flush()


if __name__ == "__main__":
    main()
