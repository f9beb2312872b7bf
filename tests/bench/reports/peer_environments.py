"""Environments of peers that cannot live in ours, made on first use under .bench-peers/."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def python_of(name: str, packages: Sequence[str], *, check: str) -> Path:
    """The Python of the environment with these packages; `check` is a statement that must run in it.

    Raises RuntimeError with pip's last line where it cannot be made.
    """
    folder = REPOSITORY / ".bench-peers" / name
    python, done = folder / "bin" / "python", folder / ".done"
    if done.exists() and done.read_text() == "\n".join(packages):
        return python
    sys.stderr.write(f"Setting up {name} in {folder} (once) ...\n")
    install = (python, "-m", "pip", "install", "--disable-pip-version-check", "-q", *packages)
    for command in ((sys.executable, "-m", "venv", "--clear", folder), install, (python, "-c", check)):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            last_line = (ran.stderr.strip() or ran.stdout.strip() or "no message").splitlines()[-1]
            raise RuntimeError(f"{command[1]} {command[2]} failed: {last_line}")
    done.write_text("\n".join(packages))
    return python
