"""What a network is, beyond the arguments of the seed: one frozen record."""

import dataclasses
from typing import Any, Literal, get_args, get_origin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Every choice that makes one network of the family differ from another.

    The defaults are SE-ResNet-50 as the seed has it. A variant is another value of a field,
    never another copy of the code; derive one with `dataclasses.replace(spec, ratio=8)`.

    Args:
        n_blocks: blocks in each group.
        n_filters: filters of each group; a bottleneck gives out four times as many.
        residual: `"bottleneck"` (1x1, 3x3, 1x1) or `"basic"` (3x3, 3x3).
        ratio: integer by which the squeeze divides the channels; `None` builds the plain twin.
        cardinality: number of groups in the 3x3 convolution; 1 is ResNet, more is ResNeXt.
        base_width: filters per group of the 3x3 where `n_filters` is 64, the 4 of "32x4d".
        strided: the convolution of a bottleneck that carries the stride: `"reduce"` (the first
            1x1, as in the paper's Caffe networks) or `"3x3"` (as in PyTorch, and in every ResNeXt).
        stem: `"7x7"` with stride 2 and max pooling, or `"3x3"` at full resolution (CIFAR).
        stem_filters: filters of the stem.
        stem_pool: `"padded"` (one row and column of zeros on every side, then 3x3/2 valid) or
            `"ceil"` (none in front, as many behind as the last window needs: Caffe's rounding).
        se_bias: whether the two dense layers of the excitation have biases.
        norm_epsilon: added to the variance in batch normalisation.
        norm_momentum: share of the running statistics that a step keeps.
        input_size: side of the square input the network is meant for, pixels.

    Raises:
        ValueError: a field has a value that no network can be built from.

    Example:
        >>> Spec(ratio=8).ratio
        8

    Reference:
        Hu et al., arXiv 1709.01507, table 1 (networks) and section 3 (ratio).
    """

    n_blocks: tuple[int, ...] = (3, 4, 6, 3)
    n_filters: tuple[int, ...] = (64, 128, 256, 512)
    residual: Literal["bottleneck", "basic"] = "bottleneck"
    ratio: int | None = 16
    cardinality: int = 1
    base_width: int = 64
    strided: Literal["reduce", "3x3"] = "reduce"
    stem: Literal["7x7", "3x3"] = "7x7"
    stem_filters: int = 64
    stem_pool: Literal["padded", "ceil"] = "padded"
    se_bias: bool = False
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    input_size: int = 224

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check(field.name, field.type, getattr(self, field.name))
        if len(self.n_blocks) != len(self.n_filters) or not self.n_blocks:
            raise ValueError(
                "n_blocks and n_filters say the same thing of each group and must be equally long "
                f"and not empty; got {self.n_blocks} and {self.n_filters}."
            )
        if self.residual == "basic" and (self.cardinality, self.base_width) != (1, 64):
            raise ValueError(
                "A basic block has no grouped 3x3: leave cardinality at 1 and base_width at 64, or "
                f'use residual="bottleneck"; got {self.cardinality} and {self.base_width}.'
            )

    def _check(self, name: str, kind: Any, value: Any) -> None:
        """Refuse a value outside what the field's annotation and the arithmetic allow."""
        if get_origin(kind) is Literal:
            valid = value in get_args(kind)
            wanted = f"one of {', '.join(map(repr, get_args(kind)))}"
        elif kind is bool:
            valid, wanted = isinstance(value, bool), "True or False"
        elif kind == tuple[int, ...]:
            valid = isinstance(value, tuple) and all(_is_count(v) for v in value)
            wanted = "a tuple of positive integers"
        elif kind is float:
            valid = isinstance(value, float) and 0 < value < 1
            wanted = "a number between 0 and 1"
        else:
            valid = _is_count(value) or (value is None and kind == int | None)
            wanted = "a positive integer" + (" or None" if kind == int | None else "")
        if not valid:
            raise ValueError(f"{name} must be {wanted}; got {value!r}.")

    @property
    def expansion(self) -> int:
        """Filters out of a block over `n_filters`: 4 for a bottleneck, 1 for a basic block."""
        return 4 if self.residual == "bottleneck" else 1

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Spec":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is unknown or its value is not allowed.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"Unknown fields of a network's spec: {', '.join(unknown)}.")
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fields)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
