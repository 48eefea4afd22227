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

_EPILOG = mark("""
commands:
  {program} --watch INBOX     watch and file until stopped (this page)
  {program} sort --help       copy the images of a folder into class folders, once
  {program} history --help    show what was filed, when, where and why
  {program} undo --help       move images back to where they came from
  {program} retry --help      bring quarantined images back, to be classified again
  {program} release --help    let images be filed again that undo brought back
  {program} resort --help     move filed images to where a newer checkpoint files them
  {program} relabel --help    move images to another class, and keep that as a label
  {program} labels --help     list, take back or export what you said of images
  {program} archive --help    classify millions of pictures, here or in a bucket
  {program} review --help     look through the images in a browser, and decide
  {program} learn --help      learn now from what you said of images
  {program} status --help     show the state of the running daemon
  {program} rescan --help     let the running daemon look through its inboxes now
  {program} reload --help     let the running daemon read its settings again
  {program} doctor --help     check everything that the daemon needs
  {program} alarms --help     list what was wrong, and when it was over
  {program} alerts --help     send alarms to your telephone, by mail, by MQTT, …
  {program} unit --help       print or install a unit for systemd

Every option but --config, --once and --dry-run may stand in config.toml or in the environment
(IMAGESORTD_THRESHOLD=0.6); config.toml explains them and names their defaults.
""")


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
