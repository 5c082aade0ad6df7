"""A network whose gates can be held at constants, computed only from the first held gate on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from senet.graph import call_sources, find_tensor, rebuild, set_weights
from senet.models.folding import blocks_to_fold
from senet.models.layout import Layout

Gates: TypeAlias = Mapping[str, np.ndarray | None]
"""Constants `(C,)` by the name of the layer that scales; `None` is 1, which is no gate."""


@dataclasses.dataclass(frozen=True)
class _Piece:
    """What is computed from one gate to the next.

    Args:
        model: from what earlier pieces gave to what later ones need; `None` if that is nothing.
        reads: keys of what earlier pieces gave.
        gives: keys of what it gives.
        later: keys of what later pieces need, of its own and of earlier pieces.
    """

    model: keras.Model | None
    reads: tuple[int, ...]
    gives: tuple[int, ...]
    later: frozenset[int]


class SwitchedNetwork:
    """A copy of a network whose gates pass, or are held at constants.

    It is cut at its gates into pieces. What lies before the first gate that differs between two
    sets of constants is computed once for both, and what it gave is kept for as long as it is
    needed, in the memory of a batch.

    Args:
        model: a functional Keras model of one input and one output. It stays as it is.
        names: of the layers that scale, whose gates are to be held; by default all.

    Raises:
        ValueError: the model is not functional, or has no such blocks.
    """

    def __init__(self, model: keras.Model, names: Sequence[str] | None = None) -> None:
        blocks = {block.scale: block for block in blocks_to_fold(model, names)}
        sources, layout = call_sources(model), Layout(model)
        self.switches: dict[str, _Switch] = {}
        calls: list[_Call] = []
        levels: dict[int, int] = {}  # the number of the last gate that a tensor depends on

        def record(layer: Any, args: Any, kwargs: Any, level: int | None = None) -> Any:
            call = _Call(layer, args, kwargs, layer(*args, **kwargs))
            calls.append(call)
            before = (levels.get(key, 0) for key in call.reads)
            call.level = max(before, default=0) if level is None else level
            levels.update((key, call.level) for key in call.gives)
            return call.outputs

        def call(layer, *args, **kwargs):
            if layer.name not in blocks:
                return record(layer, args, kwargs)
            block = blocks[layer.name]
            gate = find_tensor(block.gate, sources[layer.name, 0], args, kwargs)
            switch = self.switches[layer.name] = _Switch(layout.find_channel_axis(block.scaled))
            held = record(switch, (gate,), {}, len(self.switches))
            args, kwargs = keras.tree.map_structure(
                lambda given: held if given is gate else given, (args, kwargs)
            )
            return record(layer, args, kwargs, len(self.switches))

        self.model = rebuild(model, call=call)
        for layer in model.layers:
            if layer.weights:
                set_weights(self.model.get_layer(layer.name), layer.get_weights())
        self.entries = [id(tensor) for tensor in _tensors(self.model.input)]
        self.output = id(self.model.outputs[0])
        self.pieces = self._cut(calls, levels)

    def _cut(self, calls: Sequence["_Call"], levels: Mapping[int, int]) -> list[_Piece]:
        """The pieces: first what depends on no gate, then for each gate what depends on it last."""
        tensors = {id(tensor): tensor for tensor in _tensors(self.model.input)}
        tensors |= {id(t): t for call in calls for t in _tensors(call.outputs)}
        last = {self.output: len(self.switches) + 1}  # the last piece that reads a tensor
        for call in calls:
            last.update((key, max(call.level, last.get(key, 0))) for key in call.reads)
        pieces = []
        for number in range(len(self.switches) + 1):
            here = [call for call in calls if call.level == number]
            own = {key for call in here for key in call.gives}
            reads = dict.fromkeys(key for call in here for key in call.reads if key not in own)
            new = {
                key: keras.Input(batch_shape=tensors[key].shape, dtype=tensors[key].dtype)
                for key in reads
            }
            given = list(new.values())
            for call in here:
                call.repeat(new)
            gives = [key for key in own if last.get(key, 0) > number]
            model = keras.Model(given, [new[key] for key in gives]) if gives else None
            later = {key for key in tensors if last.get(key, 0) > number >= levels.get(key, 0)}
            pieces.append(_Piece(model, tuple(reads), tuple(gives), frozenset(later)))
        return pieces

    def hold(self, gates: Gates) -> None:
        """Hold these gates in `model`, and let the others pass."""
        for name in self.switches:
            self._hold(name, gates)

    def predict_on_batch(self, images: np.ndarray, ways: Sequence[Gates]) -> list[np.ndarray]:
        """What the network gives with each of these sets of gates held, every other gate passing.

        Args:
            images: a batch of inputs.
            ways: the sets. Constants that are one array count as the same.

        Returns:
            Outputs for each set.
        """
        found: list[Any] = [None] * len(ways)
        names = list(self.switches)
        state = dict.fromkeys(self.entries, images)
        waiting: list[tuple[int, dict[int, Any], list[int]]] = [(0, state, [*range(len(ways))])]
        while waiting:
            number, state, open_ways = waiting.pop()
            if number:
                self._hold(names[number - 1], ways[open_ways[0]])
            state = self._compute(self.pieces[number], state)
            if number == len(names):
                for way in open_ways:
                    found[way] = np.asarray(state[self.output])
                continue
            groups: dict[Any, list[int]] = {}
            for way in open_ways:
                gates, name = ways[way], names[number]
                groups.setdefault(id(gates[name]) if name in gates else "passes", []).append(way)
            # The smallest group is taken first, and the state that all of them start from is let go
            # with the largest: few states wait at a time, not one for each gate.
            for group in sorted(groups.values(), key=len, reverse=True):
                waiting.append((number + 1, state, group))
        return found

    def _hold(self, name: str, gates: Gates) -> None:
        """Hold one gate as these say, or let it pass."""
        constant = gates.get(name)
        held = 1.0 if constant is None else constant
        self.switches[name].hold(held if name in gates else None)

    def _compute(self, piece: _Piece, state: dict[int, Any]) -> dict[int, Any]:
        """What is needed behind a piece."""
        if piece.model is not None:
            outputs = piece.model.predict_on_batch([state[key] for key in piece.reads])
            made = dict(zip(piece.gives, keras.tree.flatten(outputs), strict=True))
            state = state | made
        return {key: state[key] for key in piece.later}


class _Call:
    """One call of a layer in a graph, which can be repeated on other tensors."""

    def __init__(self, layer: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        self.layer, self.args, self.kwargs, self.outputs = layer, args, kwargs, outputs
        self.level = 0

    @property
    def reads(self) -> list[int]:
        """Keys of the tensors that it is given."""
        return [id(tensor) for tensor in _tensors((self.args, self.kwargs))]

    @property
    def gives(self) -> list[int]:
        """Keys of the tensors that it gives."""
        return [id(tensor) for tensor in _tensors(self.outputs)]

    def repeat(self, new: dict[int, Any]) -> None:
        """Call the layer on the tensors that are new for those it was given; add what it gives."""
        args, kwargs = keras.tree.map_structure(
            lambda given: new.get(id(given), given), (self.args, self.kwargs)
        )
        outputs = self.layer(*args, **kwargs)
        new.update(zip(self.gives, _tensors(outputs), strict=True))


class _Switch(keras.layers.Layer):
    """Lets a gate pass, or gives a constant in its place; never saved."""

    def __init__(self, axis: int) -> None:
        super().__init__(dtype="float32")
        self.axis = axis  # of the channels, where the gate has the shape of maps

    def build(self, shape: Sequence[int | None]) -> None:
        axis = self.axis % len(shape) if len(shape) == 4 else len(shape) - 1
        sides = [shape[axis] if i == axis else 1 for i in range(1, len(shape))]
        self.keep = self.add_weight(shape=(), initializer="ones", trainable=False, name="keep")
        self.constant = self.add_weight(
            shape=sides, initializer="zeros", trainable=False, name="constant"
        )

    def call(self, gate: Any) -> Any:
        return gate * self.keep + self.constant

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def hold(self, constant: np.ndarray | float | None) -> None:
        """Give this constant, `(C,)` or one number; without one let the gate pass."""
        self.keep.assign(1.0 if constant is None else 0.0)
        given = np.broadcast_to(0.0 if constant is None else constant, np.size(self.constant))
        self.constant.assign(given.reshape(self.constant.shape).astype("float32"))


def _tensors(structure: Any) -> list[Any]:
    return [t for t in keras.tree.flatten(structure) if keras.utils.is_keras_tensor(t)]
