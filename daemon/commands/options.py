"""The options that are settings, shared by the commands that look at the daemon's configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models.text.language import tr


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every setting as an option. Only what is given appears among the parsed ones: see `given`."""

    def add(*names: str, **options: Any) -> None:
        parser.add_argument(*names, default=argparse.SUPPRESS, **options)

    add("--watch", action="append", metavar="INBOX", help=tr("a folder to watch; may be repeated (./inbox)"))
    add("--output", metavar="DIR", help=tr("where class folders appear (./sorted)"))
    add("--checkpoint", metavar="PATH", help=tr("checkpoint file, run folder, or folder the trainer publishes to"))
    add("--threshold", metavar="P", help=tr('less probable images go to the others: 0 to 1, or "auto"'))
    add("--probation-images", metavar="N", help=tr("images of a new model that are watched; 0 watches none (100)"))
    add("--others-dir", metavar="NAME", help=tr("folder for unsure images (others)"))
    add("--quarantine-dir", metavar="NAME", help=tr("folder for unreadable files (quarantine)"))
    add("--action", metavar="move|copy|link", help=tr("what filing does (move)"))
    add("--recursive", action=argparse.BooleanOptionalAction, help=tr("watch the folders inside, too"))
    add("--cross-mounts", action=argparse.BooleanOptionalAction, help=tr("and those that are on other file systems"))
    add("--poll", action=argparse.BooleanOptionalAction, help=tr("look again and again instead of using events"))
    add("--settle-seconds", metavar="S", help=tr("quiet time after which a file is complete (2)"))
    add(
        "--quiet-after-close-seconds",
        metavar="S",
        help=tr(
            "how long a file is left alone after it was closed, for scanners that open it again for "
            "the next page; by inbox: ./scans=10,./letters=5 (auto: 10 for TIFF)"
        ),
    )
    add(
        "--writer-patience-seconds",
        metavar="S",
        help=tr("how long a file waits that grew, is empty or has gaps, where nobody can say whether it is open (300)"),
    )
    add("--rescan-seconds", metavar="S", help=tr("time between looks at the whole inbox (60)"))
    add("--batch-size", metavar="N", help=tr("images per step of the model (16)"))
    add("--threads", metavar="N", help=tr("threads that decode and compute; 0 is one per core"))
    add("--device", metavar="cpu|cuda", help=tr("where the model computes (cpu)"))
    add("--precision", metavar="float32|int8", help=tr("of transformers such as CLIP (float32)"))
    add("--max-megapixels", metavar="N", help=tr("larger images go to the quarantine (200)"))
    add("--max-file-mb", metavar="N", help=tr("larger files go to the quarantine (512)"))
    add("--decode-memory-mb", metavar="N", help=tr("images that need more to be decoded go to the quarantine (2048)"))
    add("--decode-seconds", metavar="S", help=tr("images that need longer to be decoded go to the quarantine (60)"))
    add("--plugins", metavar="NAMES", help=tr("packages that may bring backbones, joined with commas"))
    add("--cache-dir", metavar="DIR", help=tr("for weights and graphs (~/.cache/imagesortd)"))
    add("--journal-days", metavar="N", help=tr("what was filed longer ago is forgotten; 0 keeps it all (400)"))
    add("--state-dir", metavar="DIR", help=tr("for the journal (~/.local/state/imagesortd)"))
    add(
        "--on-filed",
        metavar="COMMAND",
        help=tr("run after images were filed; reads a JSON object for each, a line each"),
    )
    add("--on-filed-seconds", metavar="S", help=tr("what a run of that command may take (30)"))
    add("--metrics-file", metavar="FILE", help=tr("Prometheus metrics for node_exporter's textfile collector"))
    add("--metrics-listen", metavar="ADDRESS", help=tr("127.0.0.1:PORT or a UNIX socket's path, for Prometheus to ask"))
    add("--log-level", metavar="LEVEL", help=tr("DEBUG, INFO, WARNING or ERROR"))
    add("--log-json", action=argparse.BooleanOptionalAction, help=tr("one JSON object per line"))
    add("--config", type=Path, metavar="FILE", help=tr("settings file (./config.toml where there is one)"))


def given(options: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """Parsed options apart: the settings that were given, and the configuration file."""
    flags = dict(options)
    return flags, flags.pop("config", None)
