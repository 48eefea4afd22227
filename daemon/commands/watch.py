"""``python -m daemon --watch ./inbox``: the command line of the service."""

from __future__ import annotations

import argparse

from daemon import config
from daemon.commands.options import add_settings, given
from daemon.config import Settings
from daemon.decoding.launcher import Launcher
from daemon.files.malloc import keep_little
from daemon.monitoring.logs import start_logging
from daemon.service import watch
from models.text.commandline import Parser
from models.text.language import mark, tr

_EPILOG = mark(
    "\ncommands:\n  {program} --watch INBOX     watch and file until stopped (this page)\n  {program} sort "
    "--help       copy the images of a folder into class folders, once\n  {program} history --help    show what "
    "was filed, when, where and why\n  {program} undo --help       move images back to where they came from\n  "
    "{program} retry --help      bring quarantined images back, to be classified again\n  {program} release "
    "--help    let images that undo brought back be filed again\n  {program} resort --help     move filed images "
    "to where a newer checkpoint files them\n  {program} relabel --help    move images to another class, and keep "
    "that as a label\n  {program} labels --help     list, take back or export what you said of images\n  {program} "
    "archive --help    classify millions of images, here or in a bucket\n  {program} review --help     look "
    "through the images in a browser, and decide\n  {program} learn --help      learn now from what you said of "
    "images\n  {program} status --help     show the state of the running daemon\n  {program} rescan --help     let "
    "the running daemon look through its inboxes now\n  {program} reload --help     let the running daemon read "
    "its settings again\n  {program} doctor --help     check everything that the daemon needs\n  {program} alarms "
    "--help     list what was wrong, and when it was over\n  {program} alerts --help     send alarms to your "
    "telephone, by mail, by MQTT, …\n  {program} unit --help       print or install a unit for systemd\n\nEvery "
    "option but --config, --once and --dry-run may stand in config.toml or in the environment\n"
    "(IMAGESORTD_THRESHOLD=0.6); config.toml explains them and names their defaults.\n"
)


def main(arguments: list[str], launcher: Launcher) -> int:
    """Watch until told to stop; returns the exit code."""
    options = vars(parser().parse_args(arguments))
    once, dry_run = options.pop("once", False), options.pop("dry_run", False)
    flags, file = given(options)

    def read() -> Settings:
        settings = config.load(flags, file)
        config.check_together(settings)
        return settings

    settings = read()
    start_logging(settings.log_level, as_json=settings.log_json)
    keep_little()
    return watch(settings, launcher, once=once, dry_run=dry_run, reread=read)


def parser() -> Parser:
    """Make the parser of the command's options."""
    parser = Parser(
        prog="python -m daemon",
        description=tr("Watch folders, and file every new image into the folder of its class."),
        epilog=tr(_EPILOG, program="python -m daemon"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given: the rest comes from environment, file and defaults
    )
    add_settings(parser)
    add = parser.add_argument
    add("--once", action="store_true", help=tr("file what is there and stop; exit code 3 if something was left"))
    add("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    return parser
