"""Save networks so that plain Keras reads them; load them without running anything in the file."""

import dataclasses
import json
import os
import pathlib
import zipfile
from typing import Any

import h5py
import keras

from senet.files import replacing
from senet.models.spec import Spec

MEMBER = "senet.json"
"""Name of the extra member of a `.keras` file; stock Keras passes over it."""

MEMBER_LIMIT = 16 * 2**20
"""Largest size of that member that is read, bytes."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What has to travel with a network's weights so that it can be used.

    Args:
        network: name of the network, or of what it was derived from.
        spec: its `Spec`.
        input_shape: of one image; `None` where a side is open.
        classes: number of classes; `None` without a classifier.
        classifier_activation: of the classifier; `None` gives logits.
        features: strides of the feature maps that are given out in place of the classifier.
        name: of the model; `None` is that of the network.
        precision: Keras' dtype policy that the network was built under.
        data_format: `"channels_last"` or `"channels_first"`.
        pooling: of a network without classifier, as in `keras.applications`.
        class_names: one for each class, where they are known.
        preprocessing: how an image becomes an input, where it is known, as plain JSON values.

    Raises:
        ValueError: a field is of another kind.
    """

    network: str
    spec: Spec
    input_shape: tuple[int | None, ...]
    classes: int | None
    classifier_activation: str | None = "softmax"
    pooling: str | None = None
    features: tuple[int, ...] | None = None
    name: str | None = None
    precision: str = "float32"
    data_format: str = "channels_last"
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = dict(
            network=str,
            spec=Spec,
            input_shape=tuple,
            classes=int | None,
            classifier_activation=str | None,
            pooling=str | None,
            features=tuple | None,
            name=str | None,
            precision=str,
            data_format=str,
            class_names=list | tuple | None,
            preprocessing=dict | None,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                raise ValueError(f"The {field} of a network cannot be {getattr(self, field)!r}.")
        if self.class_names is None:
            return
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
        if self.classes is not None and len(self.class_names) != self.classes:
            raise ValueError(
                f"There must be one name for each of the {self.classes} classes; got "
                f"{len(self.class_names)} class names."
            )

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return {"format": 1, **vars(self), "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Card":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is missing or unknown, or the format is a later one.
        """
        values = dict(values)
        if values.pop("format", None) != 1:
            raise ValueError("It was written in a format that this version of senet does not know.")
        try:
            values["spec"] = Spec.from_json(values["spec"])
            values["input_shape"] = tuple(values["input_shape"])
            values["features"] = values.get("features") and tuple(values["features"])
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"Its {MEMBER} is not complete: {error}.") from error


def save(model: keras.Model, path: str | os.PathLike, card: Card) -> None:
    """Write a `.keras` file that stock Keras loads, with its card as one extra member.

    The file appears whole or not at all: it is written under another name, flushed to the disk,
    and renamed.

    Args:
        model: a stock Keras model.
        path: of the file; must end in `.keras`.
        card: what travels with it.

    Raises:
        ValueError: the name does not end in `.keras`.
        OSError: the file cannot be written; an older one of that name is left as it was.
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"A saved network needs a name that ends in .keras; got {str(path)!r}.")
    with replacing(path) as written:
        model.save(written)
        with zipfile.ZipFile(written, "a") as archive:
            archive.writestr(MEMBER, json.dumps(card.to_json(), indent=1))


def read_card(path: str | os.PathLike) -> Card:
    """The card of a `.keras` file that `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a `.keras` file, or has no card.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MEMBER).file_size > MEMBER_LIMIT:
                raise ValueError(f"Its {MEMBER} is larger than any that senet writes.")
            return Card.from_json(json.loads(archive.read(MEMBER)))
    except KeyError:
        raise ValueError(
            f"{str(path)!r} was not saved by senet: it has no {MEMBER}. If you trust it, load it "
            "with keras.saving.load_model; a network of this family whose name you know takes its "
            "arrays with senet.create(name, weights=path)."
        ) from None
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a saved network: {error}") from error


def load_arrays(model: keras.Model, path: str | os.PathLike) -> None:
    """Fill a model with the arrays of a `.keras` or `.weights.h5` file; nothing in it is run.

    Args:
        model: the network to fill. If this fails, throw it away: it may be filled in part.
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, damaged, or does not fit the model.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        published = "imagenet" in path.parts
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}."
            + " Published weights do not load yet; weights=None builds the network." * published
        )
    if not path.name.endswith((".keras", ".weights.h5")):
        raise ValueError(f"Weights come from .keras or .weights.h5 files; got {path.name!r}.")
    try:
        stored = _stored_values(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is damaged or not a weights file: {error}") from error
    if stored != model.count_params():
        raise ValueError(
            f"{str(path)!r} holds {stored:,} values and {model.name} has {model.count_params():,}: "
            "it belongs to another network, variant or number of classes."
        )
    try:
        model.load_weights(path)
    except Exception as error:  # Keras raises what h5py, zipfile and it itself think of.
        reason = str(error).splitlines()[0]
        raise ValueError(f"{str(path)!r} does not fit {model.name}: {reason}") from error


def _stored_values(path: pathlib.Path) -> int:
    """Number of values of all arrays in a file, without those of an optimizer."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
            return _count(h5py.File(file, "r"))
    with h5py.File(path, "r") as file:
        return _count(file)


def _count(file: h5py.File) -> int:
    total = 0

    def add(name, item):
        nonlocal total
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            total += int(item.size)

    file.visititems(add)
    return total
