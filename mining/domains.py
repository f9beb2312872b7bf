"""Which hosts are candidates for labelling, judged by the share of their pages that a round collected."""

from dataclasses import dataclass
from math import sqrt

from mining.errors import ConfigError


@dataclass(frozen=True)
class DomainConfig:
    """When a host is worth a label (DeepSeekMath 2.1 takes every domain with more than 10% collected)."""

    min_share: float = 0.10
    """Share of collected pages that the lower bound must exceed."""
    min_pages: int = 10
    """Pages that a host needs before its share means anything."""
    z: float = 1.96
    """Normal quantile of the Wilson bound; 1.96 leaves 2.5% below, 0 is the paper's raw share."""
    min_prefix_share: float = 0.10
    """Share that the lower bound of the host's best prefix must exceed, on hosts that fail as a whole."""
    min_prefix_uncollected: int = 200
    """Uncollected pages under that prefix from which it makes its host a candidate."""

    def __post_init__(self) -> None:
        for name in ("min_share", "min_prefix_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name}={getattr(self, name)}: a share lies in [0, 1)")
        if self.min_pages < 1 or self.z < 0 or self.min_prefix_uncollected < 1:
            raise ConfigError(
                f"min_pages={self.min_pages}, z={self.z}, min_prefix_uncollected={self.min_prefix_uncollected}: "
                "need at least 1, 0 and 1"
            )


@dataclass(frozen=True, slots=True)
class DomainStats:
    """What one round says of a host."""

    pages: int
    """Pages left after deduplication: the same set that `collected` is counted in."""
    collected: int
    """Of these, pages above the round's cut."""
    prefix_pages: int = 0
    """Pages under the host's best prefix, 0 where prefixes were not counted."""
    prefix_collected: int = 0
    """Of these, pages above the cut."""


def wilson_lower(k: int, n: int, z: float = 1.96) -> float:
    """The lower end of Wilson's score interval for a share of k in n; 0 when n is 0 (Wilson 1927)."""
    if n <= 0:
        return 0.0
    share = k / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Cancellation can leave -1e-17 for k = 0.
    return max(0.0, (centre - spread) / (1 + z * z / n))


def is_candidate(stats: DomainStats, cfg: DomainConfig) -> bool:
    """Whether a host should be labelled.

    Its share's lower bound passes, on enough pages; or, on a huge host where mathematics is a corner, one prefix
    passes and still holds many uncollected pages. The raw 10% of the paper takes every host of one page and never
    takes an encyclopedia.
    """
    if stats.pages >= cfg.min_pages and wilson_lower(stats.collected, stats.pages, cfg.z) > cfg.min_share:
        return True
    return (
        stats.prefix_pages - stats.prefix_collected >= cfg.min_prefix_uncollected
        and wilson_lower(stats.prefix_collected, stats.prefix_pages, cfg.z) > cfg.min_prefix_share
    )
