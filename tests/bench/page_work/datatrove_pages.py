"""datatrove's page work on its local executor, every block with its defaults: WarcReader, Trafilatura, fastText filter.

Run with the Python of an environment of datatrove's own. The filter gets the text with spaces for line ends, since
fastText reads one line; its threshold lets everything through, so that each page is scored and none is written.
"""

import sys
import tempfile
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import FastTextClassifierFilter
from datatrove.pipeline.readers import WarcReader
from worker import serve


def main() -> None:
    """Serve with the model given."""
    model = sys.argv[1]

    def score_file(path: str) -> int:
        warc = Path(path)
        with tempfile.TemporaryDirectory() as logs:
            pipeline = [
                WarcReader(str(warc.parent), glob_pattern=warc.name),
                Trafilatura(),
                FastTextClassifierFilter(model, keep_labels=[("math", 0.0)], newline_replacement=" "),
            ]
            stats = LocalPipelineExecutor(pipeline, tasks=1, workers=1, logging_dir=logs).run()
        return int(stats.stats[-1].stats["total"].total)

    serve(score_file)


if __name__ == "__main__":
    main()
