"""What every training entry does around its own loop: settings, resume, metrics, checkpoints, the model at the end."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl import distributed
from rl.checkpoint import FILE_NAME, Stateful, fingerprint, open_checkpoint, restore, save_checkpoint
from rl.distributed import World
from rl.errors import ConfigError
from rl.metrics import MetricsLog, write_json
from rl.policy import Policy, save_policy
from rl.schedule import OptimConfig, check_optim, learning_rate
from rl.settings import as_dict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings that every training entry has."""

    num_steps: int
    """Steps of the run."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    micro_batch_tokens: int = 16384
    """Most tokens (with padding) in one forward pass; changes memory and speed, not the result."""
    seed: int = 0
    """Draws the order of the data and every sample."""
    precision: str = "float32"
    """float32, or bfloat16 for the forward pass under autocast."""
    device: str = "auto"
    """auto, cpu or cuda."""
    num_threads: int = 1
    """CPU threads of torch; 0 leaves its own choice. More than one rarely helps small models."""
    out_dir: str
    """Gets model/ (Hugging Face folder), metrics.jsonl, summary.json and checkpoint.pt."""
    resume: bool = True
    """Go on from out_dir's checkpoint when it is of the same settings."""
    save_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between console lines."""
    stop_after: int = 0
    """Stop (with a checkpoint) when this step is reached; 0 runs to the end. For queues with a time limit."""


class TrainingRun:
    """One run: where it stands, what it writes, what it goes on from.

    The entry's loop reads `while run.goes_on: ...; run.finish_step(values)` and ends with `run.finish(...)`.
    """

    def __init__(
        self, settings: RunConfig, world: World, *, inputs: Sequence[str | Path], states: Mapping[str, Stateful]
    ) -> None:
        """Opens `out_dir`; with a checkpoint of the same settings and inputs there, `states` are restored from it.

        Raises CheckpointError where the checkpoint is damaged or of another run.
        """
        check_optim(settings.optim)
        for name in ("num_steps", "save_every", "log_every", "micro_batch_tokens"):
            if getattr(settings, name) < 1:
                raise ConfigError(f"{name}={getattr(settings, name)}: at least 1")
        if settings.seed < 0:
            raise ConfigError(f"seed={settings.seed}: at least 0")
        self.settings, self.world, self.states = settings, world, states
        self.out_dir = Path(settings.out_dir)
        self.recorded = as_dict(settings) | {"inputs": fingerprint(inputs)}
        if not settings.resume:
            forget(self.out_dir, world)
        self.step = 0
        self.cursor: dict[str, Any] = {}
        if content := open_checkpoint(self.out_dir, self.recorded, resume=settings.resume):
            self.step, self.cursor = restore(content, states)
            logger.info("going on from step %d of %s", self.step, self.out_dir)
        self.end = min(settings.stop_after or settings.num_steps, settings.num_steps)
        self._was_done = self.is_done
        if self._was_done:
            logger.info("already done: %s", self.out_dir / "model")
        else:
            self._metrics = MetricsLog(self.out_dir, first_step=self.step, active=world.is_main)
        self._started = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @property
    def is_done(self) -> bool:
        """True where the checkpoint was the last one and the model stands beside it."""
        return self.step >= self.settings.num_steps and (self.out_dir / "model" / "config.json").is_file()

    @property
    def goes_on(self) -> bool:
        return self.step < self.end

    @property
    def lr(self) -> float:
        """The learning rate of the step in progress."""
        return learning_rate(self.step, self.settings.optim, num_steps=self.settings.num_steps)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds spent inside to the step's `<name>_s`."""
        started = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started

    def finish_step(
        self,
        values: Mapping[str, float],
        *,
        cursor: Callable[[], Mapping[str, Any]] = dict,
        completions: Callable[[], Sequence[Mapping[str, Any]]] = list,
    ) -> None:
        """Counts the step and writes its metrics; when it is time, `completions` to look at, and the checkpoint.

        The metrics hold the run's learning rate unless `values` has one.
        The checkpoint holds what `cursor` returns. All ranks call this together.
        """
        lr = self.lr
        self.step += 1
        seconds = {f"{name}_s": spent for name, spent in self._seconds.items()}
        self._seconds = {}
        shown = self.step % self.settings.log_every == 0 or self.step == self.settings.num_steps
        self._metrics.write(self.step, {"lr": lr, **values, **seconds}, show=shown)
        if shown and self.world.is_main:
            self._metrics.write_completions(self.step, completions())
        if self.step % self.settings.save_every == 0 or self.step == self.end:
            content = cursor()
            if self.world.is_main:
                save_checkpoint(
                    self.out_dir, step=self.step, states=self.states, settings=self.recorded, cursor=content
                )

    def finish(self, policy: Policy, **summary: Any) -> None:
        """After the last step: the model and, once it stands, summary.json. Then waits for the other ranks.

        A run that was done before it began writes nothing.
        """
        if not self._was_done:
            self._metrics.close()
        if self.world.is_main and self.step == self.settings.num_steps and not self._was_done:
            save_policy(policy, self.out_dir / "model")
            seconds = round(time.perf_counter() - self._started, 2)
            write_json(self.out_dir / "summary.json", {"settings": self.recorded} | summary | {"seconds": seconds})
            logger.info("model in %s", self.out_dir / "model")
        distributed.stop(self.world)


def forget(out_dir: Path, world: World) -> None:
    """Removes what a run that starts anew must not be mistaken for when it is interrupted: checkpoint and model."""
    if world.is_main:
        (out_dir / FILE_NAME).unlink(missing_ok=True)
        shutil.rmtree(out_dir / "model", ignore_errors=True)
    distributed.total(world, [0.0])  # nobody looks before it is gone
