"""What a network is, beyond the arguments of the seed: one frozen record."""

import dataclasses
import re
import reprlib
import types
from collections.abc import Collection
from typing import Any, Literal, Union, get_args, get_origin

from senet.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Every choice that makes one network of the family differ from another.

    The defaults are SE-ResNet-50 as the seed has it. A variant is another value of a field,
    never another copy of the code; derive one with `dataclasses.replace(spec, ratio=8)`.

    Args:
        n_blocks: blocks in each group.
        n_filters: filters of each group; a bottleneck gives out four times as many.
        residual: `"bottleneck"` (1x1, 3x3, 1x1) or `"basic"` (3x3, 3x3).
        preactivation: whether norm and ReLU come before each convolution and nothing after the
            addition (He et al., arXiv 1603.05027), as in the networks of the paper's CIFAR tables.
        ratio: integer by which the squeeze divides the channels; `None` builds none.
        placement: of squeeze and excitation in a block: `"standard"` (end of the residual branch),
            `"pre"` (its start), `"post"` (after the addition and its ReLU), `"identity"` (on the
            shortcut) or `"3x3"` (after the 3x3 of a bottleneck): tables 14 and 15.
        se_at: the blocks with squeeze and excitation, by name, `("stage2", "stage4_block1")`;
            `None` is all of them. The paper's stages 2 to 5 (table 13) are stages 1 to 4 here.
        squeeze: `"mean"`, `"max"`, or `"none"`: no pooling, and the excitation as two 1x1
            convolutions at full resolution (tables 11 and 16).
        excitation: `"sigmoid"`, `"tanh"` or `"relu"`, at the end of the excitation (table 12).
        se_bias: whether the two layers of the excitation have biases.
        se_divisor: the width of the squeeze is rounded to a multiple of this (timm: 8).
        cardinality: number of groups in the 3x3 convolution; 1 is ResNet, more is ResNeXt.
        base_width: filters per group of the 3x3 where `n_filters` is 64, the 4 of "32x4d".
        reduce_divisor: the first 1x1 has this many times fewer filters than the 3x3 (SENet-154: 2).
        strided: the convolution of a bottleneck that carries the stride: `"reduce"` (the first
            1x1, as in the paper's Caffe networks) or `"3x3"` (as in PyTorch, and in every ResNeXt).
        antialias: whether a strided 3x3 of a block is a dense one followed by 2x2 average pooling.
            At an odd side the last window averages what there is of it, where timm cannot add the
            branches.
        projection: of a strided shortcut: `"1x1"`, `"3x3"` (SENet-154) or `"average"` (2x2 average
            pooling, then 1x1; ResNet-D).
        stem: `"7x7"` with stride 2 and pooling, `"deep"` (three 3x3, the first with stride 2, and
            pooling), or `"3x3"` at full resolution (CIFAR).
        stem_filters: filters of each convolution of the stem.
        stem_pool: 3x3/2 max pooling, `"padded"` (one row and column of zeros on every side) or
            `"ceil"` (none in front, as many behind as the last window needs: Caffe's rounding), or
            `"average"` (2x2/2, the anti-aliased networks).
        dropout: rate before the classifier, 0 to 1.
        stochastic_depth: rate at which the last residual branch is dropped in training, 0 to 1; it
            rises linearly from 0 at the first block (Huang et al., arXiv 1603.09382).
        last_relu: whether a ReLU follows the last norm of a basic block's branch, before squeeze
            and excitation (timm's `legacy_seresnet18` and `34`; nobody else).
        zero_last_norm: whether the last norm of a residual branch starts with scale 0, so that
            every block starts as its shortcut (Goyal et al., arXiv 1706.02677).
        norm_epsilon: added to the variance in batch normalisation.
        norm_momentum: share of the running statistics that a step keeps.
        output_stride: input pixels per pixel of the last maps, 8 or 16: later strides become
            dilations, for segmentation. `None` keeps every stride.
        dilation: of the 3x3 convolutions of a block up to its stride, and behind it.
        input_size: side of the square input the network is meant for, pixels.

    Raises:
        ValueError: a field has a value that no network can be built from.

    Example:
        >>> Spec(ratio=8).ratio
        8

    Reference:
        Hu et al., arXiv 1709.01507, table 1 (networks) and sections 3 and 6 (design choices).
    """

    n_blocks: tuple[int, ...] = (3, 4, 6, 3)
    n_filters: tuple[int, ...] = (64, 128, 256, 512)
    residual: Literal["bottleneck", "basic"] = "bottleneck"
    preactivation: bool = False
    ratio: int | None = 16
    placement: Literal["standard", "pre", "post", "identity", "3x3"] = "standard"
    se_at: tuple[str, ...] | None = None
    squeeze: Literal["mean", "max", "none"] = "mean"
    excitation: Literal["sigmoid", "tanh", "relu"] = "sigmoid"
    se_bias: bool = False
    se_divisor: int = 1
    cardinality: int = 1
    base_width: int = 64
    reduce_divisor: int = 1
    strided: Literal["reduce", "3x3"] = "reduce"
    antialias: bool = False
    projection: Literal["1x1", "3x3", "average"] = "1x1"
    stem: Literal["7x7", "3x3", "deep"] = "7x7"
    stem_filters: tuple[int, ...] = (64,)
    stem_pool: Literal["padded", "ceil", "average"] = "padded"
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    last_relu: bool = False
    zero_last_norm: bool = False
    norm_epsilon: float = 1e-5
    norm_momentum: float = 0.9
    output_stride: Literal[8, 16] | None = None
    dilation: tuple[int, int] = (1, 1)
    input_size: int = 224

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _allows(field.type, value):
                given = reprlib.repr(value)
                raise InputError(f"{field.name} must be {_describe(field.type)}; got {given}.")
        for wrong, message in self._impossible():
            if wrong:
                raise InputError(message)

    def _impossible(self) -> list[tuple[bool, str]]:
        """Combinations that mean nothing, each with what to do."""
        averages = self.antialias or self.projection == "average"
        unknown = [name for name in self.se_at or () if not self._has(name)]
        return [
            (
                len(self.n_blocks) != len(self.n_filters) or not self.n_blocks,
                "n_blocks and n_filters say the same thing of each group and must be equally long "
                f"and not empty; got {self.n_blocks} and {self.n_filters}.",
            ),
            (
                self.residual == "basic"
                and (self.cardinality, self.base_width, self.reduce_divisor) != (1, 64, 1),
                "A basic block has no grouped 3x3 and no 1x1: leave cardinality at 1, base_width "
                'at 64 and reduce_divisor at 1, or use residual="bottleneck".',
            ),
            (
                self.cardinality == 1 and (self.base_width, self.reduce_divisor) != (64, 1),
                "base_width and reduce_divisor are widths of grouped blocks: leave them at 64 and "
                "1, or set cardinality; n_filters makes a ResNet wider.",
            ),
            (
                self.residual == "basic" and self.placement == "3x3",
                'placement="3x3" is inside a bottleneck; a basic block ends in its 3x3: use '
                'placement="standard".',
            ),
            (
                self.preactivation
                and (
                    (self.placement, self.projection, self.cardinality, self.reduce_divisor)
                    != ("standard", "1x1", 1, 1)
                    or self.antialias
                    or self.zero_last_norm
                ),
                "With preactivation a branch ends in a convolution and a block in an addition: "
                'placement must be "standard", projection "1x1", cardinality and reduce_divisor '
                "1, antialias and zero_last_norm off.",
            ),
            (
                self.last_relu and (self.residual != "basic" or self.preactivation),
                'last_relu belongs to basic blocks with residual="basic" and preactivation off.',
            ),
            (
                averages and (self.output_stride is not None or self.dilation != (1, 1)),
                "No stock layer averages with dilation: an anti-aliased network or an average-pool "
                "shortcut cannot be dilated.",
            ),
            (
                len(self.stem_filters) != (3 if self.stem == "deep" else 1),
                "stem_filters has one value for each convolution of the stem, three for a deep "
                f"one; got {self.stem_filters} for stem={self.stem!r}.",
            ),
            (
                self.norm_epsilon == 0,
                "norm_epsilon must be above 0: a constant channel would be divided by 0.",
            ),
            (
                bool(unknown),
                f"se_at names stages and blocks of the network, as 'stage2' or 'stage4_block1'; "
                f"this one has no {', '.join(map(repr, unknown))}.",
            ),
        ]

    def _has(self, name: str) -> bool:
        """Whether the network has the stage or block of a name."""
        match = re.fullmatch(r"stage(\d+)(?:_block(\d+))?", name)
        if not match or not 1 <= int(match[1]) <= len(self.n_blocks):
            return False
        return match[2] is None or 1 <= int(match[2]) <= self.n_blocks[int(match[1]) - 1]

    @property
    def expansion(self) -> int:
        """Filters out of a block over `n_filters`: 4 for a bottleneck, 1 for a basic block."""
        return 4 if self.residual == "bottleneck" else 1

    @property
    def stem_stride(self) -> int:
        """Input pixels per pixel of the maps that the stem gives out."""
        return 1 if self.stem == "3x3" else 4

    def groups(self) -> list["Group"]:
        """What the learner builds, group by group, with a spec for every block."""
        groups, before, dilation = [], self.stem_stride, 1
        shapes = zip(self.n_blocks, self.n_filters, self.strides_of_groups(), strict=True)
        for i, (n_blocks, n_filters, after) in enumerate(shapes):
            strides, front = after // before, dilation
            dilation *= 2 if i and strides == 1 else 1
            dilations = [(front, dilation), *[(dilation, dilation)] * (n_blocks - 1)]
            specs = tuple(self._block(i, j, dilations[j]) for j in range(n_blocks))
            groups.append(Group(n_blocks, n_filters, (strides, strides), specs))
            before = after
        return groups

    def strides_of_groups(self) -> list[int]:
        """Input pixels per pixel of the maps that each group gives out."""
        strides = [self.stem_stride]
        for _ in self.n_blocks[1:]:
            coarser = 2 * strides[-1]
            kept = self.output_stride and coarser > self.output_stride
            strides.append(strides[-1] if kept else coarser)
        return strides

    def _block(self, group: int, block: int, dilation: tuple[int, int]) -> "Spec":
        """The spec of one block: what differs from block to block, resolved."""
        changes: dict[str, Any] = {}
        if self.se_at is not None:
            stage = f"stage{group + 1}"
            here = not {stage, f"{stage}_block{block + 1}"}.isdisjoint(self.se_at)
            changes.update(se_at=None if here else ())
        if self.stochastic_depth:
            depth, last = sum(self.n_blocks[:group]) + block, sum(self.n_blocks) - 1
            changes.update(stochastic_depth=self.stochastic_depth * depth / max(1, last))
        if dilation != (1, 1):
            front, behind = self.dilation
            changes.update(dilation=(front * dilation[0], behind * dilation[1]))
        return dataclasses.replace(self, **changes) if changes else self

    def count_groups(self, strides: Collection[int]) -> int:
        """How many groups the maps at some strides need."""
        return sum(stride <= max(strides, default=0) for stride in self.strides_of_groups())

    def first_groups(self, number: int) -> "Spec":
        """The spec of the network up to one of its groups, which builds the same blocks."""
        n_blocks = self.n_blocks[:number]
        last, whole = sum(n_blocks) - 1, sum(self.n_blocks) - 1
        cut = dataclasses.replace(
            self,
            n_blocks=n_blocks,
            n_filters=self.n_filters[:number],
            stochastic_depth=self.stochastic_depth * max(1, last) / max(1, whole),
            se_at=None,
        )
        if self.se_at is None:
            return cut
        return dataclasses.replace(cut, se_at=tuple(name for name in self.se_at if cut._has(name)))

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
            names = ", ".join(
                name if name.isidentifier() else reprlib.repr(name) for name in unknown
            )
            raise InputError(f"Unknown fields of a network's spec: {names}.")
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class Group:
    """What `learner` gives to one `se_group`.

    Args:
        n_blocks: number of blocks.
        n_filters: filters of the group.
        strides: of its first block.
        specs: one for each block.
    """

    n_blocks: int
    n_filters: int
    strides: tuple[int, int]
    specs: tuple[Spec, ...]


def _allows(kind: Any, value: Any) -> bool:
    """Whether a field of this annotation may have the value."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(_allows(one, value) for one in get_args(kind))
    if get_origin(kind) is tuple:
        one, length = get_args(kind)[0], get_args(kind)
        fits = isinstance(value, tuple) and (length[-1] is ... or len(value) == len(length))
        return fits and all(_allows(one, item) for item in value)
    if get_origin(kind) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(kind))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    return isinstance(value, kind)


def _describe(kind: Any) -> str:
    """What `_allows` allows, in words."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_describe(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        one, *rest = get_args(kind)
        count = "" if rest == [...] else f"{len(rest) + 1} "
        return f"a tuple of {count}{_describe(one).removeprefix('a ')}s"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    words = {int: "a positive integer", float: "a number from 0 to below 1", bool: "True or False"}
    return "None" if kind is types.NoneType else words.get(kind, "a name")
