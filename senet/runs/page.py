"""HTML pages that need no other file: no scripts, no fonts, pictures inside."""

import base64
import io
import os
import pathlib
import re
import shlex
from collections.abc import Collection
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from senet.files import replacing
from senet.plotting.style import cut_middle, style_pages

THUMBNAIL = 160
"""Longer side of an image, pixels."""
LONGEST_FILE = 40
"""Letters of the name of a file below an image; the middle of a longer one is left out."""


def write_page(path: str | os.PathLike, template: str, **values: Any) -> None:
    """Fill in a template and write the page; every value is escaped.

    Args:
        path: of the page.
        template: name of a file in `senet/runs/templates`.
        values: what the template names; a name that is missing is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("senet.runs", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(percent=percent, value=value, file=shorten_file)
    page = environment.get_template(template).render(values | dict(colours=style_pages()))
    with replacing(path) as written:
        # a file name on Linux may be no text at all: what cannot be written becomes a question mark
        written.write_bytes(page.encode("utf-8", errors="replace"))


def picture(path: str | os.PathLike, title: str) -> dict[str, Any]:
    """An SVG to put into a page: its data, its size in pixels, and a title.

    It is sharp at every size, and light or dark as the page is.
    """
    content = pathlib.Path(path).with_suffix(".svg").read_bytes()
    found = re.search(rb'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', content)
    width, height = map(float, found.groups()) if found else (720.0, 480.0)
    return dict(
        title=title,
        data=embedded(content, "svg+xml"),
        width=round(width * 4 / 3),  # its points are 96 to 72 pixels
        height=round(height * 4 / 3),
    )


def thumbnail(image: Any) -> str:
    """A small JPEG of an image, as the address that an `img` element takes."""
    small = image.copy() if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.convert("RGB").save(file, "JPEG", quality=85)
    return embedded(file.getvalue(), "jpeg")


def embedded(image: bytes, kind: str) -> str:
    """An encoded image as the address that an `img` element takes."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def percent(share: float, digits: int = 1) -> str:
    """A share as people read it: `97.2 %`."""
    return f"{100 * share:.{digits}f} %"


def value(given: Any) -> str:
    """A cell of a table: numbers with four digits, a dash for nothing."""
    if given is None:
        return "-"
    return f"{given:.4g}" if isinstance(given, float) else str(given)


def shorten_file(name: str) -> str:
    """The name of a file for a caption: of a long one the folders go, then its middle."""
    if len(name) > LONGEST_FILE:
        name = name.rpartition("/")[2] or name
    return cut_middle(name, LONGEST_FILE)


def relative(path: Any) -> Any:
    """A path as it is seen from the working directory; what is no absolute path as it is.

    A page may be given to others, whom it does not concern where somebody keeps the folder.
    """
    if not isinstance(path, str | os.PathLike) or not os.path.isabs(path):
        return path
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive
        return pathlib.PurePath(path).name


def find_roots(data: str, *names: str) -> set[str]:
    """The folders, and the archive, that absolute paths in texts on a page may begin with.

    Args:
        data: where images lie.
        *names: of images; a list of images may name them by absolute paths.
    """
    given = {data, *(os.path.dirname(name) for name in names)}
    return {path for path in given if os.path.isabs(path) and path != os.path.sep}


def relative_text(text: str, roots: Collection[str]) -> str:
    """A text in which paths that begin with these are as seen from the working directory."""
    for root in sorted(roots, key=len, reverse=True):
        begins = rf"(?<![\w./-]){re.escape(root)}(?![\w-])"
        text = re.sub(begins, lambda _: str(relative(root)), text)  # noqa: B023 used at once
    return text


def relative_command(command: Any) -> str:
    """A command whose paths are as they are seen from the working directory."""
    if not isinstance(command, str):
        return str(command)
    try:
        return shlex.join(map(relative, shlex.split(command)))
    except ValueError:  # of a record that somebody changed
        return command
