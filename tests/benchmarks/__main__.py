"""Every benchmark, one after the other: ``python -m tests.benchmarks [NAME ...] [--json FILE]``.

Takes about two hours on two cores; nothing else should run meanwhile. With names only those run. The figures
of all are written to one file, by benchmark.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

#: What is measured.
BENCHMARKS = (
    "archive",  # millions of pictures into a manifest, by one machine and by Ray
    "archive_memory",  # what archives hold in memory, by their size
    "buckets",  # many small objects in a bucket, in and out, over a network that fails
    "bulk",  # sorting folders, against the usual script and the bound
    "latency",  # single arrivals, start, idle
    "clients",  # arrivals beside people who undo and relabel
    "control",  # calls of a running daemon, and what they cost the images
    "review",  # the page in Chromium: keys, two pages, decisions beside arrivals
    "day",  # 100,000 pictures, one after the other
    "backlog",  # a million names in the inbox
    "growth",  # a million rows in the journal, a thousand classes, a hundred inboxes
    "bursts",  # what one camera took within seconds, decided together
    "duplicates",  # looking for the same bytes among a million filed images
    "corrections",  # noticing what people put right among a million filed images
    "fitting",  # a first and a cached fit
    "processes",  # fine-tuning by one process and by two
    "trust",  # how many are wrong where a bound was asked for
    "rollup",  # what filing into the folder above a class brings
    "unknowns",  # what becomes of images of no class
    "unlabelled",  # what images without a label bring where few have one
    "choosing",  # time, memory and accuracy of the choice of a head
    "learning",  # what lessons from people's answers bring, day by day
    "alarms",  # how often alarms are false, in simulated years
    "audits",  # whether promises made from audits hold
    "lesson_cost",  # time and memory of a lesson
    "head_figures",  # what the docstrings of heads say of them
    "lessons",  # filing beside lessons, and how long these take
    "starter",  # how well the starter model sorts photographs
    "reload",  # going over to another model
    "features",  # the backbones alone
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if strangers := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {', '.join(strangers)}: choose from {', '.join(BENCHMARKS)}")
    figures = {}
    for name in options.names or BENCHMARKS:
        print(f"\n=== {name}\n", flush=True)
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--json", file.name]
            subprocess.run(command, check=True)
            figures[name] = json.loads(Path(file.name).read_text() or "null")
        if options.json:  # after each, so that an interruption loses none
            options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
