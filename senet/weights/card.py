"""The card of a network: what has to travel with its weights."""

import dataclasses
import reprlib
from typing import Any

from senet.errors import InputError
from senet.foreign import clean_text, is_count
from senet.models.spec import Spec

MEMBER = "senet.json"
"""Where a card lies: an extra member of a `.keras` file, which stock Keras passes over, or an entry
of the metadata of a safetensors file."""


LARGEST_SIDE = 2**16
"""Largest side or number of channels of an image that a card is believed about."""


FOLDED = ("constant", "dropped")
"""What became of a gate that is gone: layers around it took it in, or it was 1."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What has to travel with a network's weights so that it can be used.

    Args:
        network: name of the network, or of what it was derived from.
        spec: its `Spec`; `None` where no spec describes it, as after `senet.insert`. Then the graph
            that Keras writes into the file counts.
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
        trained_on: which images it was trained on, where that is known, as plain JSON values; they
            are checked where they are used.
        folded: which of `FOLDED` became of the gates that are gone, by the name of the layer that
            scaled.

    Raises:
        ValueError: a field is of another kind.
    """

    network: str
    spec: Spec | None
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
    trained_on: Any = None
    folded: dict[str, str] | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, Any] = dict(
            network=str,
            spec=Spec | None,
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
            folded=dict | None,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                given = clean_text(reprlib.repr(getattr(self, field)))
                raise InputError(f"The {field} of a network cannot be {given}.")
        if not all(kind in FOLDED for kind in (self.folded or {}).values()):
            given = clean_text(reprlib.repr(self.folded))
            raise InputError(f"The gates of a network are folded as {FOLDED}; got {given}.")
        if self.class_names is None:
            return
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))
        if self.classes is not None and len(self.class_names) != self.classes:
            raise InputError(
                f"There must be one name for each of the {self.classes} classes; got "
                f"{len(self.class_names)} class names."
            )

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return {"format": 1, **vars(self), "spec": self.spec and self.spec.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Card":
        """The record that `to_json` wrote.

        Raises:
            ValueError: a field is missing or unknown, or the format is a later one.
        """
        values = dict(values)
        if values.pop("format", None) != 1:
            raise InputError("It was written in a format that this version of senet does not know.")
        try:
            values["spec"] = values["spec"] and Spec.from_json(values["spec"])
            values["input_shape"] = tuple(values["input_shape"])
            values["features"] = values.get("features") and tuple(values["features"])
            card = cls(**values)
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"Its {MEMBER} is not complete: {error}.") from error
        sizes = (*(n for n in card.input_shape if n is not None), *(card.features or ()))
        if not all(type(n) is int and 0 < n <= LARGEST_SIDE for n in sizes):
            raise InputError(
                f"The sizes of its images and maps must be numbers from 1 to {LARGEST_SIDE}; got "
                f"{reprlib.repr(card.input_shape)} and {reprlib.repr(card.features)}."
            )
        if len(card.input_shape) != 3 or (card.classes is not None and not is_count(card.classes)):
            raise InputError(
                "It needs height, width and channels of its images, and a number of classes; got "
                f"{reprlib.repr(card.input_shape)} and {reprlib.repr(card.classes)}."
            )
        return card

    @property
    def channels(self) -> int | None:
        """Channels of its images."""
        return self.input_shape[-1 if self.data_format == "channels_last" else 0]
