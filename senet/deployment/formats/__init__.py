"""The formats that networks are exported in: each is a file here and a line in the list below."""

from senet.deployment.formats import litert, onnx, openvino, saved_model, triton
from senet.deployment.formats.format import Format
from senet.errors import InputError

FORMATS: dict[str, Format] = {
    style.name: style
    for style in (
        openvino.FORMAT,
        onnx.FORMAT,
        saved_model.FORMAT,
        litert.FORMAT,
        triton.FORMAT,
    )
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
