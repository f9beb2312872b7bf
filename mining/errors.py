"""What can go wrong, named by what the runner does about it.

MotherlodeError
|-- ConfigError     stop before any work; the user mends the command or the config (exit 2)
|-- RecordError     count the record under its reason, skip it, go on
|-- ShardError      fail this shard or stage; the engine may retry, a re-run takes it up again
|-- StoreError      stop: the run directory cannot be trusted or written (exit 2)
|-- NeedsLabels     stop: a person has to label prefixes first (exit 3)
`-- NeedsScores     stop: another engine has to score a round's pages first (exit 3)
"""

import sys
from collections.abc import Callable


class MotherlodeError(Exception):
    """Base of every error whose message is meant for the user."""


class ConfigError(MotherlodeError):
    """A setting, path or input is wrong; nothing was started."""


class RecordError(MotherlodeError):
    """One record is unusable; `reason` is the short key it is counted under."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ShardError(MotherlodeError):
    """A whole input shard or stage failed."""


class StoreError(MotherlodeError):
    """The run directory is missing, damaged, locked or belongs to another config."""


class NeedsLabels(MotherlodeError):
    """The next round needs prefix labels that only a person can give."""


class NeedsScores(MotherlodeError):
    """A trained round waits for the scores that another engine makes."""


def exit_code(run: Callable[[], None], *, kept: str) -> int:
    """Run a program to its end; its exit code, and of an error one clear message on stderr.

    kept: what an interrupted run has kept, as words of the message.
    """
    try:
        run()
    except NeedsLabels as error:
        sys.stderr.write(f"labels wanted: {error}\n")
        return 3
    except NeedsScores as error:
        sys.stderr.write(f"scores wanted: {error}\n")
        return 3
    except (ConfigError, StoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except MotherlodeError as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {kept} is kept: run the same line again to go on\n")
        return 130
    return 0
