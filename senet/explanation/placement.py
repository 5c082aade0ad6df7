"""Where on an image the cells of a map lie, from the layers between the two."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.graph import functional, inner_models, rebuild
from senet.models.layout import MOVING, Layout

STRIDED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
POOLING = (layers.MaxPooling2D, layers.AveragePooling2D)
TURNING = ("Flip", "Roll", "Rot90")
"""Operations that give as many cells elsewhere."""
RESIZED = (layers.Resizing, layers.UpSampling2D)


@dataclasses.dataclass(frozen=True)
class Line:
    """Where the cells of a map lie along one side of the image: cell `i` at `scale * i + offset`.

    Args:
        scale: pixels from one cell to the next.
        offset: pixel that the middle of the first cell lies on, from 0.
    """

    scale: float = 1.0
    offset: float = 0.0

    def step(self, stride: float, middle: float) -> "Line":
        """The line of a map whose cell `i` is seen from cell `stride * i + middle` of this one."""
        return Line(self.scale * stride, self.scale * middle + self.offset)


Place = tuple[Line, Line]
"""Of a map: down the image, and across it."""


class Places:
    """Where the cells of each map of a model lie, noted while its layers are called in turn.

    A cell lies in the middle of the pixels that it is computed from: a 3x3 kernel of stride 2 with
    a pixel of padding at each side puts cell `i` on pixel `2 i`, and not in the middle of the
    `i`-th part of the image. With five of them the difference is 15 pixels. Where ways of different
    middles meet, as in the first block of a stage, it is their mean.

    Args:
        model: a functional model of images.
    """

    def __init__(self, model: keras.Model) -> None:
        self.layout, self.inner = Layout(model), inner_models(model)
        self.known: dict[int, tuple[Any, Place | None]] = {}

    def note(self, layer: Any, given: Any, outputs: Any) -> None:
        """Note where the cells lie that a layer gave when it was given these tensors."""
        for tensor in keras.tree.flatten(outputs):
            if _is_map(tensor):
                maps = [t for t in keras.tree.flatten(given) if _is_map(t)]
                self.known[id(tensor)] = tensor, self._place(layer, maps, tensor)

    def find(self, tensor: Any) -> Place | None:
        """Where the cells of a map lie; `None` where that is not known."""
        # what no layer gave is the image itself
        return self.known.get(id(tensor), (None, (Line(), Line())))[1]

    def _place(self, layer: Any, maps: list[Any], output: Any) -> Place | None:
        """Where the cells of what a layer gives lie."""
        if not maps or type(layer).__name__ in (*MOVING, *TURNING):
            return None
        sides = (1, 2) if self.layout.find_channel_axis(layer.name) == -1 else (2, 3)
        got = [output.shape[side] for side in sides]
        given = [[tensor.shape[side] for side in sides] for tensor in maps]
        # what is spread over a side, as a gate is, lies nowhere on it
        spread = [[a == 1 != b for a, b in zip(size, got, strict=True)] for size in given]
        whole = [size for size, sides in zip(given, spread, strict=True) if not any(sides)]
        ways = [
            self._follow(layer, self.find(tensor), tensor, size, got)
            for tensor, size in zip(maps, given, strict=True)
            if size in whole or not whole
        ]
        known = [way for way in ways if way is not None]
        return _average(known) if len(known) == len(ways) else None

    def _follow(
        self, layer: Any, before: Place | None, tensor: Any, given: Any, got: Any
    ) -> Place | None:
        """Where the cells lie that a layer gives of a map."""
        if before is None:
            return None
        model = self.inner.get(layer.name)
        if model is not None:
            single = len(model.inputs) == len(model.outputs) == 1
            inside = find_place(model, tensor.shape[1:]) if single else None
            return inside and _each_side(
                lambda side: before[side].step(inside[side].scale, inside[side].offset)
            )
        down, across = (_see(layer, side, given[side], got[side]) for side in (0, 1))
        if down is None or across is None:
            return None
        return before[0].step(*down), before[1].step(*across)


def fix_inputs(model: keras.Model, sizes: tuple[int | None, ...]) -> Any:
    """New inputs for a model of one input, of these sizes: where cells lie depends on them."""
    inputs = functional(model).input
    own = keras.tree.flatten(inputs)[0].shape[1:]
    known = [there or size for there, size in zip(own, sizes, strict=True)]
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=(tensor.shape[0], *known), dtype=tensor.dtype, name=tensor.name
        ),
        inputs,
    )


def find_place(model: keras.Model, sizes: tuple[int | None, ...]) -> Place | None:
    """Where the cells that a model of one input and output gives lie; `None` if that is not known.

    Args:
        model: a functional model.
        sizes: of its input, `(H, W, C)`.
    """
    places = Places(model)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        places.note(layer, (args, kwargs), outputs)
        return outputs

    again = rebuild(model, lambda layer: layer, call, fix_inputs(model, sizes))
    return places.find(keras.tree.flatten(again.output)[0])


def enlarge(maps: np.ndarray, place: Place | None, size: tuple[int, int]) -> np.ndarray:
    """Maps in the size of the image: each cell fades from where it lies to the middles of the next.

    It fades as a cosine does, so that no edges show; between the outermost middles the shares of
    all cells add up to one. Beyond them it fades too. If a map went on there as it is, the last
    cell of a row, which with padding as PyTorch has it lies a whole cell from the edge, would
    colour more of the image than the first: maps of mirrored images would not be mirrored.

    Args:
        maps: `(N, h, w)`.
        place: where their cells lie; `None` divides the image evenly between them.
        size: height and width of the image, pixels.

    Returns:
        `(N, H, W)`.
    """
    shares = []
    for side, length in enumerate(size):
        cells = maps.shape[1 + side]
        line = place[side] if place else Line(length / cells, (length / cells - 1) / 2)
        away = (np.arange(length)[:, None] - line.offset) / line.scale - np.arange(cells)
        share = (1 + np.cos(np.pi * away.clip(-1, 1))) / 2
        shares.append(share.astype(maps.dtype))
    return np.einsum("nij,yi,xj->nyx", maps, *shares, optimize=True)


def _see(layer: Any, side: int, given: int | None, got: int | None) -> tuple[float, float] | None:
    """The stride of a layer along a side, and which cell of its input the first output sees.

    Args:
        layer: of any kind.
        side: 0 down, 1 across.
        given: cells that it is given along this side, if known.
        got: cells that it gives.

    Returns:
        Both; `None` where the layer is unknown and gives another number of cells.
    """
    if isinstance(layer, (*STRIDED, *POOLING)):
        pooled = isinstance(layer, POOLING)
        size = (layer.pool_size if pooled else layer.kernel_size)[side]
        stride = layer.strides[side]
        reach = (size - 1) * (1 if pooled else layer.dilation_rate[side])
        padding = 0
        if layer.padding == "same":  # as TensorFlow pads, on every backend: the odd pixel is last
            rest = (given % stride or stride) if given else stride
            padding = max(reach + 1 - rest, 0) // 2
        return stride, reach / 2 - padding
    if isinstance(layer, layers.ZeroPadding2D):
        return 1, -layer.padding[side][0]
    if isinstance(layer, layers.Cropping2D):
        return 1, layer.cropping[side][0]
    if given == got:
        return 1, 0
    if not given or not got:
        return None
    if isinstance(layer, layers.CenterCrop) and given > got:
        return 1, (given - got) // 2
    if isinstance(layer, (*RESIZED, layers.CenterCrop)) or got == 1:  # evenly
        return given / got, (given / got - 1) / 2
    return None


def _average(ways: list[Place]) -> Place:
    """Where what is the sum of several maps lies."""

    def average(side: int) -> Line:
        lines = [dataclasses.astuple(way[side]) for way in ways]
        return Line(*np.mean(lines, axis=0).tolist())

    return _each_side(average)


def _each_side(make: Callable[[int], Line]) -> Place:
    return make(0), make(1)


def _is_map(tensor: Any) -> bool:
    return keras.utils.is_keras_tensor(tensor) and len(tensor.shape) == 4
