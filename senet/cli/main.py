"""`senet`: the group of commands, its errors and its exit codes."""

import importlib
import io
import sys
import traceback
from typing import Any

import click

import senet
from senet import quiet
from senet.cli.command import HELP, allow_debugging, complain, escape_lines
from senet.errors import Error, one_family

COMMANDS = {
    "train": "Train a network on images.",
    "experiment": "Compare networks under one recipe, with several seeds.",
    "evaluate": "Score a trained network on labelled images.",
    "compare": "Put training runs side by side.",
    "predict": "Name what is on images.",
    "explain": "Show what the gates of a network do, and where it looks.",
    "fold": "Take out the gates that can be constants.",
    "export": "Write a network for another runtime, proved equal.",
    "quantize": "Write a network in int8, if it stays as good.",
    "list": "List the networks of the family.",
    "info": "Show parameters, multiply-adds and stages of a network.",
    "convert": "Write a network to another kind of weights file.",
    "draw": "Draw a network and its blocks as SVG and PNG.",
}
FAILED, INTERRUPTED = 1, 130
MAX_FAULT = 300
"""Letters of an error that nobody foresaw; some libraries write pages."""


class Commands(click.Group):
    """Imports a command when it is called, so that help needs no backend."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name; only that one is imported."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"senet.cli.{name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; an unknown one is answered with the known ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} Known: {', '.join(COMMANDS)}.", ctx) from None


@click.group(cls=Commands, context_settings=HELP)
@click.version_option(senet.__version__, "-V", "--version", prog_name="senet")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=allow_debugging,
    help="Show tracebacks, and what libraries say.",
)
def senet_command() -> None:
    """Squeeze-and-Excitation networks for Keras 3.

    Exit codes: 0 done, 1 failed (standard error says why), 2 wrong usage, 130 interrupted
    by Ctrl-C, 143 by SIGTERM.
    """


def main() -> None:
    """Run the command line; the entry point of the `senet` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal has not are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        with one_family():
            code = senet_command.main(standalone_mode=False)
    except click.ClickException as error:
        error.message = escape_lines(error.message)  # type: ignore[misc]
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.unraisablehook = lambda _: None  # loaders cut off in their constructors complain
        complain("interrupted")
        code = INTERRUPTED
    except Error as error:
        _show_traceback()
        complain(f"error: {str(error) or type(error).__name__}")
        code = FAILED
    except OSError as error:  # of the network, say
        _show_traceback()
        complain(f"error: {str(error) or type(error).__name__}")
        code = FAILED
    except Exception as error:
        _show_traceback()
        complain(f"error: {_describe_fault(error)}")
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _show_traceback() -> None:
    if quiet.debugging():
        complain(traceback.format_exc().rstrip())


def _describe_fault(error: Exception) -> str:
    """What to say, on one line, of an error that nobody foresaw."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if len(what) > MAX_FAULT:
        what = f"{what[:MAX_FAULT]}..."
    return (
        f"senet did not foresee this: {what}. Please report it to the developers of senet with the "
        "command, what it prints with --debug, and what `pip freeze` prints."
    )
