"""``python -m models list``: the backbones of the registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import registry
from .commandline import Parser, run
from .weights import WeightsStore


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    parser = Parser(prog="python -m models", description="The backbones that images can be looked at with.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    listing = commands.add_parser(
        "list", help="every backbone: what it is, where its weights come from, if they are here"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--cache-dir", type=Path, help="where weights are kept (default: ~/.cache/imagesortd)")
    options = parser.parse_args(arguments)
    rows = _rows(WeightsStore(options.cache_dir))
    if options.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_table(rows)
    return 0


def _rows(store: WeightsStore) -> list[dict[str, object]]:
    entries = registry.entries()
    here = {name: entry.weights.here(store) for name, entry in entries.items()}
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "parts": [name],
            "features": entry.width,
            "input": entry.transform.crop,
            "weights": entry.weights.label,
            "licence": entry.licence,
            "here": here[name],
            "description": entry.description,
        }
        for name, entry in entries.items()
    ]
    for name, composition in registry.compositions().items():
        parts = [entries[part] for part in composition.parts]
        rows.append(
            {
                "name": name,
                "parts": list(composition.parts),
                "features": sum(part.width for part in parts),
                "input": max(part.transform.crop for part in parts),
                "weights": " and ".join(f"those of {part.name}" for part in parts),
                "licence": ", ".join(dict.fromkeys(part.licence for part in parts)),
                "here": all(here[part.name] for part in parts),
                "description": composition.description,
            }
        )
    return sorted(rows, key=lambda row: str(row["name"]))


def _print_table(rows: list[dict[str, object]]) -> None:
    header = ["name", "features", "input", "weights", "licence", "here", "description"]
    cells = [
        [("yes" if row[key] else "to fetch") if key == "here" else str(row[key]) for key in header] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    for line in [header, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(run(main))
