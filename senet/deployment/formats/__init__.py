"""The formats that networks are exported in: each is a file here and a name in the list below."""

import importlib

from senet.deployment.formats.format import Format
from senet.errors import InputError

NAMES = (
    "openvino",
    "onnx",
    "saved_model",
    "litert",
    "triton",
)
"""Of the files, in the order in which people read of them; a file describes its `FORMAT`."""
FORMATS: dict[str, Format] = {
    name: importlib.import_module(f"senet.deployment.formats.{name}").FORMAT for name in NAMES
}
"""Every format by its name."""
QUANTIZABLE = tuple(name for name, style in FORMATS.items() if style.quantize)
"""Names of those that have int8."""


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        InputError: there is none.
    """
    if name not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}; got {name!r}.")
    return FORMATS[name]
