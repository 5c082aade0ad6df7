"""Fields of a recipe: their help, kind and range, how they are merged, and a value as text."""

import dataclasses
import tomllib
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w

from senet.errors import InputError
from senet.weights.catalogue import is_tag

KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    dict: "fields and their values",
}
"""What errors call the types of values."""
OF_NETWORK = ("model", "variant", "size")
"""Fields that weights bring with them, if they name their network."""
OF_TRAINING = ("dropout", "stochastic_depth", "zero_last_norm", "norm_momentum")
"""Fields of a spec that they do not: how a network is trained, not what it is."""
NONE = "none"
"""What stands for `None` in TOML, which has no null."""


def option(default: Any, text: str, low: float = 0, high: float = 0, *, free: bool = False) -> Any:
    """A field of a recipe.

    Args:
        default: its value where nothing else is said.
        text: its help, on the command line and in reports.
        low: smallest value.
        high: largest value; 0 sets no range.
        free: whether a run may be resumed with another value, because it does not change what is
            learnt.
    """
    about = {"help": text, "range": (low, high) if high else None, "free": free}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=about)
    return dataclasses.field(default=default, metadata=about)


def kind_of(field: dataclasses.Field) -> tuple[Any, bool]:
    """Type of a field without its `None`, and whether it may be `None`."""
    if isinstance(field.type, types.UnionType) or get_origin(field.type) is Union:
        kinds = [kind for kind in get_args(field.type) if kind is not type(None)]
        return kinds[0], True
    return field.type, False


def check_value(field: dataclasses.Field, value: Any) -> None:
    """Refuse a value of another kind or outside its range.

    Raises:
        ValueError: it is; the message has the kind or the range.
    """
    kind, optional = kind_of(field)
    if value is None and optional:
        return
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{field.name} must be one of {', '.join(get_args(kind))}.")
        return
    single = get_origin(kind) is not tuple
    if not single and not isinstance(value, tuple):
        raise InputError(f"{field.name} must be a list of values; got {value!r}.")
    kind = kind if single else get_args(kind)[0]
    for one in [value] if single else value:
        _check_one(field, kind, one)


def _check_one(field: dataclasses.Field, kind: type, value: Any) -> None:
    """Refuse a single value; `True` is a whole number to Python, and not to us."""
    allowed: Any = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
        raise InputError(f"{field.name} must be {KINDS[kind]}; got {value!r}.")
    if bounds := field.metadata["range"]:
        low, high = bounds
        if not low <= value <= high:  # no number is within a range either
            raise InputError(f"{field.name} must be from {low} to {high}; got {value}.")


def merge_fields(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe with changes over them; those of the spec add to it.

    Weights that name their network bring it with them: what the base says of another one yields to
    them, unless the changes name the network too.

    Example:
        >>> merge_fields({"epochs": 9, "spec": {"ratio": 4}}, {"spec": {"dropout": 0.1}})
        {'epochs': 9, 'spec': {'ratio': 4, 'dropout': 0.1}}
    """
    weights = changes.get("weights")
    if isinstance(weights, str) and "model" not in changes and names_network(weights):
        base = {name: value for name, value in base.items() if name not in OF_NETWORK}
        if isinstance(base.get("spec"), Mapping):
            base["spec"] = {k: v for k, v in base["spec"].items() if k in OF_TRAINING}
    merged = {**base, **changes}
    if isinstance(base.get("spec"), Mapping) and isinstance(changes.get("spec", {}), Mapping):
        merged["spec"] = {**base["spec"], **changes.get("spec", {})}
    return merged


def names_network(weights: str | None) -> bool:
    """Whether weights say which network they are of, as run folders and most files do.

    The tag of published weights alone does not, and files of nothing but arrays do not.
    """
    return weights is not None and not is_tag(weights) and not weights.endswith(".h5")


def read_value(text: str) -> Any:
    """A value as TOML has it; what is none is a text, so that nobody needs quotes.

    Example:
        >>> read_value("8"), read_value("pre"), read_value('["stage2"]')
        (8, 'pre', ('stage2',))
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return tuple(value) if isinstance(value, list) else value


def write_value(value: Any) -> str:
    """A value on one line, as `read_value` reads it back.

    TOML has no null: `None` becomes `"none"`, of which `Recipe.from_json` makes `None` again where
    a field may be that.
    """
    if value is None:
        return NONE
    text = tomli_w.dumps({"value": list(value) if isinstance(value, tuple) else value})
    return " ".join(text.removeprefix("value = ").split())
