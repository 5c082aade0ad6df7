"""Weights into networks and out again: strict on both sides, whole or not at all."""

import contextlib
import dataclasses
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

from senet.errors import FileError, InputError
from senet.files import making_parents, replacing
from senet.foreign import MAX_PATH, clean_text, escape_text, listed, parse_json
from senet.graph import settle
from senet.models import family
from senet.models.blocks import squeezed_width
from senet.models.spec import Spec
from senet.weights import catalogue, imagenet, schemes
from senet.weights.arrays import Malformed, refusing
from senet.weights.card import MEMBER, Card
from senet.weights.descriptions import build_described
from senet.weights.readers import ArrayFile, WeightsError, open_arrays, read_member
from senet.weights.state_dicts import (
    StateDict,
    describe_taken,
    find_state_dicts,
    is_counter,
    summarise,
)

CARD_LIMIT = 16 * 2**20
"""Largest size of a card that is read, bytes."""

CARD_PARTS = 500_000
"""Most brackets and commas in it: names of some hundred thousand classes."""

GRAPH = "config.json"
"""Where Keras describes the network in a `.keras` file."""

SHOWN = 4
"""Arrays of which is said why they cannot be read."""

NAMELESS = (
    "it does not say what network it holds. If its network is of this family, name it: "
    'senet.load(path, network="se_resnet50", variant="torch", classes=10), or --model se_resnet50 '
    "for senet train. A model of another kind loads with keras.saving.load_model, if you trust the "
    "file."
)
"""What is said of a file of nothing but arrays without names of their own."""

OTHER_KIND = (
    "it holds a model that is no network of images (N, H, W, C) with one output (N, classes). It "
    "loads with keras.saving.load_model, if you trust the file."
)
"""What is said of another model of Keras."""

PUBLISHED_CLASSES = 1000
"""Classes of ImageNet: a file without classifier cannot be asked for these."""

TRAINING_ONLY = (
    *("dropout", "stochastic_depth", "zero_last_norm", "norm_momentum"),
    *("input_size", "output_stride", "dilation"),
)
"""Fields of a `Spec` that change neither arrays nor what they compute on an image as it is."""


@dataclasses.dataclass
class Source:
    """A weights file that is open for reading.

    Args:
        file: its arrays.
        scheme: of its names: one of `schemes.SCHEMES`, `None` for our own.
        card: of the network in it; `None` where the file does not say (`.weights.h5`).
        taken: where in a file of others the network was found.
        beside: names in that file of what lies outside of it.
    """

    file: ArrayFile
    scheme: schemes.Scheme | None
    card: Card | None
    taken: StateDict | None = None
    beside: tuple[str, ...] = ()

    def copy_of(self, published: catalogue.Published) -> "Source":
        """This file, known to hold published weights, which tell more than the file does."""
        if self.card is None or self.card.spec is None:
            return self
        size, channels = published.size, self.card.input_shape[-1]
        own = self.scheme is None
        card = dataclasses.replace(
            self.card,
            spec=dataclasses.replace(self.card.spec, input_size=size),
            input_shape=self.card.input_shape if own else (size, size, channels),
            class_names=imagenet.class_names() if self.card.classes == published.classes else None,
            preprocessing=published.preprocessing(),
        )
        return dataclasses.replace(self, card=card)

    def fill(self, model: keras.Model, spec: Spec | None) -> None:
        """Give a model built from `spec`, or of the graph of the file, the values of the file.

        Every name and shape is compared before the first value is read. A classifier with another
        number of classes keeps its initial values, with a warning; of a file with a classifier for
        a model without, the classifier is left unread. What else a file of others holds is named in
        one warning.

        Raises:
            WeightsError: arrays are missing, unexpected or of another shape; all are listed.
        """
        wanted = [slot for slot in self._slots(model, spec) if slot.variable is not None]
        slots, notes = self._without_classifier(wanted, model)
        left_out = self._compare(slots, model.name)
        if self.taken is not None:
            outside = [*(self.taken.names[name] for name in left_out), *self.beside]
            if told := describe_taken(self.taken, outside):
                unread = [f"{n}: {self.file.unread[n]}" for n in left_out if n in self.file.unread]
                why = f" What cannot be read of it is {listed(unread, SHOWN)}" if unread else ""
                notes.append(f"{str(self.file.path)!r}: {told}.{why}")
        for note in notes:
            warnings.warn(note, stacklevel=4)
        for slot in slots:
            slot.variable.assign(slot.to_ours(self.file.read(slot.name)))
        settle(model)

    def _slots(self, model: keras.Model, spec: Spec | None) -> Iterator[schemes.Slot]:
        if self.scheme is not None and spec is not None:
            return schemes.slots(model, self.scheme, spec)
        return schemes.own_slots(model, hdf5=self.file.format == "hdf5")

    def _without_classifier(
        self, slots: list[schemes.Slot], model: keras.Model
    ) -> tuple[list[schemes.Slot], list[str]]:
        """Leave the classifier out where that of the file is for other classes, and say so."""
        kernel = next((s for s in slots if s.layer == "classifier" and len(s.shape) == 2), None)
        if kernel is None:
            return slots, []
        stored = self.file.arrays.get(kernel.name)
        if kernel.name in self.file.unread:
            return slots, []
        classes = kernel.variable.shape[1]
        if stored and (stored.shape == kernel.shape or len(stored.shape) != 2):
            return slots, []
        if stored is None and classes == PUBLISHED_CLASSES:
            raise WeightsError(
                self.file.path,
                "it has no classifier. Pass include_top=False for the maps or pooled features, or "
                "the number of your classes to train a new classifier.",
            )
        have = f"a classifier of {self._classes(stored)}" if stored else "no classifier"
        return [slot for slot in slots if slot.layer != "classifier"], [
            f"{str(self.file.path)!r} has {have}, and {model.name} has one of {classes} classes: "
            "all but the classifier was loaded, which starts from random values."
        ]

    def _classes(self, stored: Any) -> int:
        return stored.shape[0 if self.scheme else -1]

    def _compare(self, slots: list[schemes.Slot], network: str) -> list[str]:
        """Refuse a file unless it holds exactly what the slots ask for.

        Returns:
            What a file of others holds beside them that makes it no other network.
        """
        expected = {slot.name: slot for slot in slots}
        arrays, unread = self.file.arrays, self.file.unread
        left_out = [name for name in (*arrays, *unread) if name not in expected]
        left_out = [name for name in left_out if not self._ignored(name, slots)]
        belong = any(self.scheme is None or schemes.belongs(name) for name in left_out)
        misshapen = [
            f"{name}: {_shape(arrays[name].shape)} in the file, {_shape(slot.shape)} expected"
            for name, slot in expected.items()
            if name in arrays and arrays[name].shape != slot.shape
        ]
        numbers = [
            name
            for name, slot in expected.items()
            if name in arrays
            and "float" not in arrays[name].dtype
            and not ("int" in arrays[name].dtype and "int" in slot.variable.dtype)
        ]
        problems = {
            "of another shape": misshapen,
            "missing from the file": [n for n in expected if n not in arrays and n not in unread],
            "not of floating point": numbers,
            "that cannot be read": [f"{n}: {unread[n]}" for n in expected if n in unread],
        }
        if belong or any(problems.values()):
            problems["in the file and not in the network"] = left_out
            lists = "".join(
                f"\n{len(names)} {what}:" + "".join(f"\n  {escape_text(name)}" for name in names)
                for what, names in problems.items()
                if names
            )
            raise WeightsError(
                self.file.path,
                f"it does not hold {network}; nothing was loaded. It belongs to another network, "
                f"variant or width.{lists}",
            )
        return left_out

    def _ignored(self, name: str, slots: list[schemes.Slot]) -> bool:
        """Whether a network can do without an array: counters, and a classifier not asked for."""
        if is_counter(name) or "/seed_generator/" in name:
            return True
        if any(slot.layer == "classifier" for slot in slots):
            return False
        if self.file.format == "hdf5":  # there layers have numbers, and the classifier is the last
            dense = {slot.name.split("/")[1] for slot in slots if "/dense" in slot.name}
            last = f"dense_{len(dense)}" if dense else "dense"
            return name.startswith(f"layers/{last}/")
        classifier = self.scheme.entry["classifier"] if self.scheme else "classifier"
        kernel = f"{classifier}.weight" if self.scheme else f"{classifier}.kernel"
        own = (kernel, f"{classifier}.bias")
        moved = self.taken is not None and not self.taken.names.get(kernel, "").endswith(kernel)
        return name in own and kernel in self.file.arrays and not moved

    def require_held(self, groups: int | None) -> None:
        """Refuse a card that tells of a network that is larger than the arrays beside it.

        Args:
            groups: of the network that are to be built; `None` is all.

        Raises:
            WeightsError: what the card tells of is not there.
        """
        card = self.card
        if card is None or card.spec is None:
            return
        held = self.file.count()
        if not family.is_held(card.spec, card.channels or 1, card.classes, held, groups):
            told = f"its {MEMBER} tells of a larger network than its arrays are. Save it again."
            if card.features is not None:
                told = (
                    f"it holds the feature maps at strides {card.features} alone; the rest of what "
                    "is asked for is missing from the file."
                )
            raise WeightsError(self.file.path, told)

    @property
    def is_described(self) -> bool:
        """Whether Keras described the network in the file."""
        return (
            self.file.format == "hdf5"
            and read_member(self.file.path, GRAPH, CARD_LIMIT) is not None
        )

    def graph(self) -> keras.Model:
        """The model that Keras described in the file, of stock layers, with initial values.

        Raises:
            WeightsError: something in it is no stock layer, could run code, or is larger than the
                arrays in the file.
        """
        text = read_member(self.file.path, GRAPH, CARD_LIMIT) or b""
        with believing(self.file.path):
            model = build_described(parse_json(text, CARD_PARTS, float), self.file.count())
            classes = self.card and self.card.classes
            if classes is not None and classes != model.output_shape[-1]:
                raise InputError(f"its outputs are {model.output_shape}, not those of its classes")
        return model


@contextlib.contextmanager
def believing(path: str | os.PathLike) -> Iterator[None]:
    """Turn what Keras raises of a description in a file, whatever it is, into a `WeightsError`."""
    try:
        yield
    except (WeightsError, MemoryError):
        raise
    except Exception as error:
        reason = clean_text(str(error) or type(error).__name__, MAX_PATH)
        raise WeightsError(path, f"its network cannot be built: {reason}") from error


@contextlib.contextmanager
def source(path: str | os.PathLike, network: str | None = None) -> Iterator[Source]:
    """Open a weights file and say what network it holds; nothing in it is run.

    Args:
        path: of a `.keras`, `.weights.h5`, `.safetensors`, `.pth` or `.pt` file.
        network: that it is expected to be; decides between networks whose arrays are the same.

    Yields:
        A `Source`.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is damaged, or of no kind or network that senet knows.
    """
    with open_arrays(path) as file:
        card = _card(file)
        if card is None and file.format != "hdf5":
            yield _take_network(file, network)
        else:
            found = Source(file, None, card)
            if card is not None and card.spec is not None:
                features = card.features
                found.require_held(None if features is None else card.spec.count_groups(features))
            yield found


def _card(file: ArrayFile) -> Card | None:
    """The card that senet wrote into a file, if it did.

    Raises:
        WeightsError: it is damaged.
    """
    text: str | bytes | None = file.metadata.get(MEMBER)
    if text is None and file.format == "hdf5":
        text = read_member(file.path, MEMBER, CARD_LIMIT)
    if text is None:
        return None
    with refusing(file.path):
        try:
            return Card.from_json(parse_json(text, CARD_PARTS))
        except ValueError as error:
            reason = clean_text(error, MAX_PATH)
            raise Malformed(f"its {MEMBER} cannot be used: {reason}") from error


def _take_network(file: ArrayFile, network: str | None) -> Source:
    """The network in a file with foreign names: of several the best that is the one expected."""
    found, problems = [], []
    for state_dict in find_state_dicts([*file.arrays, *file.unread]):
        try:
            with refusing(file.path):
                found.append(_describe(file, state_dict, network))
        except WeightsError as error:
            problems.append(error.reason)
    if not found:
        about = f" It is {file.about}." if file.about else ""
        names = f" Its arrays are {summarise([*file.arrays, *file.unread])}."
        raise WeightsError(file.path, problems[0] if problems else schemes.EXPECTED + about + names)
    return next((one for one in found if one.card and one.card.network == network), found[0])


def _describe(file: ArrayFile, state_dict: StateDict, network: str | None) -> Source:
    """Scheme and card of one network in a file.

    Raises:
        Malformed: it is none of the family.
    """
    inside = set(state_dict.names.values())
    beside = tuple(name for name in (*file.arrays, *file.unread) if name not in inside)
    view = file.renamed(state_dict.names)
    shapes = {name: stored.shape for name, stored in view.arrays.items()}
    try:
        found = schemes.describe(shapes, network, view.count(), view.unread)
    except ValueError as error:
        raise Malformed(str(error)) from error
    scheme, name, spec, classes, channels = found
    if classes is None:
        width = spec.n_filters[-1] * spec.expansion
        if head := schemes.find_classifier(shapes, scheme, width):
            kernel, _ = head.values()
            classes = shapes[kernel][0]
            names = {n: o for n, o in state_dict.names.items() if n not in head.values()}
            names |= {ours: state_dict.names[theirs] for ours, theirs in head.items()}
            state_dict = dataclasses.replace(state_dict, names=names)
            view = file.renamed(names)
    shape = (spec.input_size, spec.input_size, channels)
    card = Card(network=name, spec=spec, input_shape=shape, classes=classes)
    return Source(view, scheme, card, state_dict, beside)


def save(model: keras.Model, path: str | os.PathLike, card: Card, names: str | None = None) -> None:
    """Write a network to a file that appears whole or not at all.

    Args:
        model: a stock Keras model.
        path: of the file: `.keras` (which stock Keras loads) or `.safetensors`.
        card: what travels with it.
        names: of the arrays in a safetensors file: `None` for ours, or those of a scheme, `"timm"`
            or `"caffe"`.

    Raises:
        ValueError: the name has another ending, or the scheme cannot hold the network; it says why.
        OSError: the file cannot be written; an older one of that name is left as it was.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".keras", ".safetensors") or (names and path.suffix == ".keras"):
        endings = ".safetensors" if names else ".keras or .safetensors"
        raise InputError(f"A saved network needs a name that ends in {endings}; got {str(path)!r}.")
    if path.suffix == ".keras":
        with making_parents(path), replacing(path) as written:
            model.save(written)
            if card.spec is None:
                _require_readable(model, written)
            with zipfile.ZipFile(written, "a") as archive:
                archive.writestr(MEMBER, json.dumps(card.to_json(), indent=1))
        return
    if card.spec is None:
        raise InputError(
            f"{card.network} is not built from a spec, and a safetensors file has no place for its "
            f"graph: give it a name that ends in .keras; got {str(path)!r}."
        )
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if names is None:
        slots = schemes.own_slots(model)
        about = {MEMBER: json.dumps(card.to_json())}
    else:
        slots, about = iter(_foreign_slots(model, card, card.spec, names)), {"format": "pt"}
    arrays = {slot.name: slot.to_theirs() for slot in slots}
    with making_parents(path), replacing(path) as written:
        try:
            save_file(arrays, written, about)
        except SafetensorError as error:  # of a full disk too
            raise FileError(f"{str(path)!r} cannot be written: {error}") from error


def _require_readable(model: keras.Model, path: pathlib.Path) -> None:
    """Refuse a file whose arrays could not be told apart again.

    Raises:
        ValueError: layers within other layers hold some of them.
    """
    with open_arrays(path) as file:
        slots = list(schemes.own_slots(model, hdf5=True))
        inside = sorted({slot.layer for slot in slots if slot.name not in file.arrays})
    if inside:
        raise InputError(
            f"{model.name!r} cannot be kept with its card, because senet.load does not tell the "
            f"weights of layers within {', '.join(map(repr, inside))} apart: keep it by model.save."
        )


def _foreign_slots(model: keras.Model, card: Card, spec: Spec, names: str) -> list[schemes.Slot]:
    """The arrays under the names of a scheme, if networks of the scheme compute the same."""
    if names not in schemes.IN_TIMM:
        known = ", ".join(map(repr, schemes.IN_TIMM))
        raise InputError(f"names must be None for ours, or one of {known}; got {names!r}.")
    scheme = schemes.SCHEMES[names]
    try:
        if len(spec.n_blocks) != 4 or spec.stem == "3x3":
            raise InputError("a network for small images")
        slots = list(schemes.slots(model, scheme, spec))
        shapes = {slot.name: slot.shape for slot in slots}
        _, _, theirs, _, _ = schemes.describe(shapes, card.network)
    except (KeyError, ValueError):
        raise InputError(
            f"{names} has no network that is built as {card.network} is: choose other names."
        ) from None
    reasons = _differences(spec, theirs)
    if reasons:
        raise InputError(
            f"{names} cannot hold this network, for it would compute something else with these "
            f"arrays: {'; '.join(reasons)}."
        )
    return slots


def _differences(ours: Spec, theirs: Spec) -> list[str]:
    """Where two networks with the same arrays compute different things."""
    skip = (*TRAINING_ONLY, "se_bias", "se_divisor", *(("ratio",) if ours.ratio == 16 else ()))
    if ours.residual == "basic":
        skip = (*skip, "strided")
    reasons = [
        f"{field.name} is {getattr(ours, field.name)!r} here and {getattr(theirs, field.name)!r} "
        "there"
        for field in dataclasses.fields(Spec)
        if field.name not in skip and getattr(ours, field.name) != getattr(theirs, field.name)
    ]
    widths = [
        [squeezed_width(n * spec.expansion, spec.ratio or 1, spec) for n in spec.n_filters]
        for spec in (ours, dataclasses.replace(theirs, ratio=16 if ours.ratio else None))
    ]
    if widths[0] != widths[1]:
        reasons.append(f"the excitation is {widths[0]} wide here and {widths[1]} there")
    return reasons


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
