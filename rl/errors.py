"""What can go wrong in training, named by what the runner does about it.

TrainingError
|-- ConfigError       stop before any work; the user mends the command, the config or a file (exit 2)
`-- CheckpointError   stop: the output folder holds another run or a damaged one (exit 2)
"""


class TrainingError(Exception):
    """Base of every error whose message is meant for the user."""


class ConfigError(TrainingError):
    """A setting, path or input is wrong; nothing was started."""


class CheckpointError(TrainingError):
    """The output folder cannot be continued."""
