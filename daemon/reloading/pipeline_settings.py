"""The settings that the pipeline goes by, which may change between two of its calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.config import Settings
from daemon.config.class_rules import ClassRules
from daemon.decoding.pool import Limits
from daemon.reloading.threshold import Threshold, in_force
from models.checkpoints.metadata import Metadata


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """What the pipeline takes from the settings.

    ``threshold`` None: the checkpoint's own. ``rules`` None: the filer keeps its own. ``only_tags``: no image is moved.
    """

    threshold: float | None
    others_dir: str
    quarantine_dir: str
    batch_size: int
    max_pixels: int
    max_bytes: int
    limits: Limits = field(default_factory=Limits)
    rules: ClassRules | None = None
    burst_seconds: float = 0.0  # 0: each image is decided by itself
    only_tags: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> PipelineSettings:
        """Take what concerns the pipeline from the settings."""
        return cls(
            threshold=None if settings.threshold == "auto" else settings.threshold,
            others_dir=settings.others_dir,
            quarantine_dir=settings.quarantine_dir,
            batch_size=settings.batch_size,
            max_pixels=settings.max_megapixels * 1_000_000,
            max_bytes=settings.max_file_mb << 20,
            limits=Limits(memory=settings.decode_memory_mb << 20, seconds=settings.decode_seconds),
            rules=settings.class_rules,
            burst_seconds=settings.burst_seconds,
            only_tags=settings.action == "tag",
        )

    def threshold_for(self, metadata: Metadata) -> Threshold:
        """Return the threshold in force with a checkpoint."""
        others = None if self.only_tags else self.others_dir
        return in_force(self.threshold, metadata, self.rules, others=others)
