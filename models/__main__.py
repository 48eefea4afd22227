"""``python -m models list | info NAME | pull NAME``: the backbones of the registry and their weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import registry
from models.allowed import allow_plugins
from models.errors import UserError, WeightsUnavailable
from models.registry import BackboneEntry
from models.text.commandline import Parser, print_json, run_and_exit
from models.text.completion import offer
from models.text.language import mark, tr
from models.weights.hub import HubFolder
from models.weights.store import WeightsStore, unavailable


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    if options.plugin:
        allow_plugins(options.plugin)
    store = WeightsStore(getattr(options, "to", None) or options.cache_dir)
    command = {"list": _list, "info": _info, "pull": _pull}[options.command]
    command(options, store)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m models", description=tr("List and describe backbones, and fetch their weights."))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    listing = commands.add_parser("list", help=tr("list the backbones, and whether their weights are on this machine"))
    info = commands.add_parser("info", help=tr("describe one backbone or mode in full"))
    pull = commands.add_parser("pull", help=tr("fetch the weights of a backbone or mode before they are needed"))
    for command in (info, pull):
        meaning = tr("such as clip, hybrid, mobilenet+clip, timm/<model>")
        offer(command.add_argument("name", metavar="NAME", help=meaning), lambda _: registry.names())
    for command in (listing, info):
        command.add_argument("--json", action="store_true", help=tr("print JSON"))
    pull.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help=tr("fetch into this folder: the --cache-dir of a machine without a network"),
    )
    pull.add_argument(
        "--clip-model",
        metavar="ID",
        help=tr("openai, laion, siglip2, siglip2-b16, or the id of another CLIP or SigLIP model"),
    )
    for command in (listing, info, pull):
        command.add_argument("--plugin", action="append", metavar="NAME", help=tr("an installed plug-in to allow"))
        command.add_argument("--cache-dir", type=Path, metavar="DIR", help=tr("the folder of cached weights"))
    return parser


def _list(options: argparse.Namespace, store: WeightsStore) -> None:
    entries = registry.entries()
    rows = [_row(entry, store) for entry in entries.values()]
    is_local = {row["name"]: row["here"] for row in rows}
    rows += [
        _composed(name, [registry.entry(part) for part in composition.parts], composition.description, is_local)
        for name, composition in registry.compositions().items()
    ]
    rows.sort(key=lambda row: str(row["name"]))
    families = {f"{prefix}<name>": tr(family.description) for prefix, family in registry.families().items()}
    if options.json:
        print_json({"backbones": rows, "families": families, "plugins": registry.plugins()})
        return
    _print_table(rows)
    for name, description in families.items():
        print(f"{name}: {description}")
    for name, problem in registry.plugins().items():
        print(tr("plug-in {name}: {problem}", name=name, problem=problem or tr("in use")))


def _row(entry: BackboneEntry, store: WeightsStore) -> dict[str, Any]:
    return {
        "name": entry.name,
        "parts": [entry.name],
        "features": entry.width,
        "input": entry.transform.crop,
        "weights": entry.weights.label,
        "licence": entry.licence,
        "here": _is_local(entry, store),
        "description": tr(entry.description),
    }


def _is_local(entry: BackboneEntry, store: WeightsStore) -> bool:
    try:
        return entry.weights.is_local(store)
    except Exception as error:  # the weights source of a plug-in may raise anything, and other rows are not affected
        print(
            tr("{name}: cannot tell whether its weights are on this machine: {error}", name=entry.name, error=error),
            file=sys.stderr,
        )
        return False


def _composed(name: str, parts: Sequence[BackboneEntry], description: str, is_local: dict[str, bool]) -> dict[str, Any]:
    return {
        "name": name,
        "parts": [part.name for part in parts],
        "features": sum(part.width for part in parts),
        "input": max(part.transform.crop for part in parts),
        "weights": tr("those of {names}", names=", ".join(part.name for part in parts)),
        "licence": ", ".join(dict.fromkeys(part.licence for part in parts)),
        "here": all(is_local.get(part.name, False) for part in parts),
        "description": tr(description),
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    header = [
        mark("name"),
        mark("features"),
        mark("input"),
        mark("weights"),
        mark("licence"),
        mark("here"),
        mark("description"),
    ]
    cells = [
        [(tr("yes") if row[key] else tr("to fetch")) if key == "here" else str(row[key]) for key in header]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(map(tr, header), *cells, strict=True)]
    for line in [list(map(tr, header)), *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _info(options: argparse.Namespace, store: WeightsStore) -> None:
    rows = []
    for name in registry.parts_of(options.name):
        entry = registry.entry(name)
        transform = entry.transform
        geometry = tr("squeezed to {side} x {side}", side=transform.crop)
        if not transform.stretch:
            geometry = tr(
                "shorter side to {resize}, centre {side} x {side}", resize=transform.resize, side=transform.crop
            )
        rows.append(
            _row(entry, store)
            | {"transform": f"{geometry}, {transform.interpolation}", "mean": transform.mean, "std": transform.std}
            | {"fingerprint": transform.fingerprint}
        )
    if options.json:
        print_json(rows)
        return
    for row in rows:
        for key, value in row.items():
            print(f"{key:12} {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
        print()


def _pull(options: argparse.Namespace, store: WeightsStore) -> None:
    """Fetch every part that can be had; raises `WeightsUnavailable`, which names those that cannot."""
    names = registry.parts_of(options.name)
    if options.clip_model and "clip" not in names:
        raise UserError(tr("--clip-model is given, but {name} does not use clip: leave it out", name=options.name))
    missing = {}
    for name in names:
        entry = registry.entry(name)
        given = options.clip_model if name == "clip" else None
        print(f"{name}: {_terms(entry, given)}", file=sys.stderr)
        try:
            weights = entry.weights.locate(given, store)
        except WeightsUnavailable as error:
            missing[name] = error
            continue
        print(
            tr(
                "{name}: {path}, from {source} (sha256 {digest})",
                name=name,
                path=weights.path,
                source=weights.source,
                digest=weights.digest,
            )
        )
    if missing:
        raise unavailable(missing)


def _terms(entry: BackboneEntry, given: str | None) -> str:
    """Say what users should know before a download: its source, licence and size."""
    source = entry.weights
    if isinstance(source, HubFolder) and (model := source.known_model(given)):
        return f"hub {model.repository}, licence {model.licence}, {model.megabytes} MB"
    return given or f"{source.label}, licence {entry.licence}"


if __name__ == "__main__":
    run_and_exit(main)
