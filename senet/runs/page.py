"""HTML pages that need no other file: no scripts, no fonts, pictures inside."""

import base64
import os
import pathlib
from typing import Any

import jinja2
from PIL import Image

from senet.files import replacing


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
    environment.filters |= dict(percent=percent, value=value)
    page = environment.get_template(template).render(values)
    with replacing(path) as written:
        # a file name on Linux may be no text at all: what cannot be written becomes a question mark
        written.write_bytes(page.encode("utf-8", errors="replace"))


def picture(path: str | os.PathLike, title: str) -> dict[str, Any]:
    """A PNG to put into a page: its data, its size in pixels, and a title."""
    with Image.open(path) as image:
        width, height = image.size
    return dict(title=title, data=embedded(pathlib.Path(path).read_bytes(), "png")) | dict(
        width=width, height=height
    )


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
