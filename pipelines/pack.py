"""dist/motherlode.zip: this project for workers of a cluster whose Python has the dependencies but not the project.

    python pipelines/pack.py                    writes dist/motherlode.zip
    python pipelines/pack.py --out other.zip

Two ways to hand it out:
    spark-submit --py-files dist/motherlode.zip pipelines/mine.py ...
        imported from the zip, where C modules cannot be: extraction takes about four times as long, and says so
    spark-submit --archives dist/motherlode.zip#motherlode --conf spark.executorEnv.PYTHONPATH=motherlode ...
        unpacked on every worker; with the C modules, where the workers have this machine's Python and platform.
        The driver needs the project beside it: an installed one, or PYTHONPATH=dist/motherlode.zip
"""

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_LEFT_OUT = (".pyc", ".c", ".md")
_DATE = (1980, 1, 1, 0, 0, 0)


def packed_files(root: Path) -> Iterator[Path]:
    """The package's modules and data below `root`, sorted; sources of C modules and documents are left out."""
    for path in sorted((root / "mining").rglob("*")):
        if path.is_file() and path.suffix not in _LEFT_OUT:
            yield path


def pack(root: Path, out: Path) -> int:
    """Write the zip; how many files it holds. Equal files give an equal zip."""
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in packed_files(root):
            entry = zipfile.ZipInfo(str(path.relative_to(root)), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
            count += 1
    return count


def main() -> None:
    """Write the zip and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist" / "motherlode.zip", help="the zip to write")
    out = parser.parse_args().out
    count = pack(REPOSITORY, out)
    print(f"{out}: {count} files, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
