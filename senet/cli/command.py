"""What all commands have in common: `--debug`, quiet libraries, a backend, words on a terminal."""

import functools
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from senet import quiet
from senet.errors import BACKENDS, InputError
from senet.foreign import escape_text

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


def allow_debugging(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Let libraries speak and errors show where they come from; what `--debug` calls."""
    if wanted:
        os.environ[quiet.DEBUG] = "1"


class Command(click.Command):
    """A command that may be debugged, and prepares this process before it begins."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=allow_debugging,
                help="Show tracebacks, and what libraries say.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, its options being read."""
        quiet.hush()
        choose_backend()
        return super().invoke(ctx)


command_of = functools.partial(click.command, cls=Command, context_settings=HELP)
"""Makes a command of a function: `@command_of("predict")`."""


def say(text: object) -> None:
    """Print what people read, without the control characters that a name may have."""
    click.echo(escape_lines(str(text)))


def say_warnings(warnings: Iterable[str]) -> None:
    """Say on standard error what was left out, or what makes results other than they seem."""
    for line in warnings:
        complain(f"warning: {line}")


def complain(text: str) -> None:
    """Print on standard error."""
    print(escape_lines(text), file=sys.stderr)


def escape_lines(text: str) -> str:
    """A text of several lines in which nothing but the ends of lines steers a terminal."""
    return "\n".join(map(escape_text, text.split("\n")))


def choose_backend() -> None:
    """Choose an installed backend if the user chose none."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if chosen := os.environ.get("KERAS_BACKEND"):
        if chosen not in (*BACKENDS, "numpy", "openvino"):
            raise InputError(
                f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}; it is {chosen!r}."
            )
        return
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    if installed and _configured_backend() not in installed:
        os.environ["KERAS_BACKEND"] = installed[0]


def _configured_backend() -> str | None:
    """What keras.json says; Keras writes TensorFlow there by itself, installed or not."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        with open(os.path.join(home, "keras.json")) as file:
            return json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
