"""Proof that an exported network answers as Keras does, on real images."""

import dataclasses
from typing import Any

import numpy as np

from senet.errors import InputError

TOLERANCE = 1e-4
"""Largest difference of an output in float32 that rounding explains, over the largest output."""
AGREEMENT = 0.95
"""Share of the images on which a network in few bits must give the class that Keras gives."""


class Disagreement(InputError):
    """An exported network does not answer as Keras does."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Outputs of an exported network beside those of Keras, on the same images.

    Args:
        images: number of them.
        difference: largest difference of an output in float32, over the largest output; `None`
            where what was exported has no float32.
        precision: that the network runs in.
        agreement: share of the images for which the network in that precision gives the class that
            Keras gives, 0 to 1.
        largest: largest difference of an output in that precision.
    """

    images: int
    difference: float | None
    precision: str
    agreement: float
    largest: float

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        graph = (
            ""
            if self.difference is None
            else f"float32 differs by at most {self.difference:.1e} of the largest output; "
        )
        return (
            f"compared with Keras on {self.images} images: {graph}in {self.precision} "
            f"{self.agreement:.1%} have the same class and outputs differ by at most "
            f"{self.largest:.1e}"
        )

    def check(self, agreement: float = AGREEMENT) -> None:
        """Raise if the network must not be published.

        Args:
            agreement: share of the images that must have the same class.

        Raises:
            Disagreement: the outputs are not those of Keras; it says by how much.
        """
        if self.difference is not None and not self.difference <= TOLERANCE:
            raise Disagreement(
                f"The exported graph does not compute what Keras does: its outputs differ by "
                f"{self.difference:.1e} of the largest on {self.images} images, and rounding "
                f"explains at most {TOLERANCE:.0e}. Nothing was written."
            )
        if not self.agreement >= agreement:
            raise Disagreement(
                f"In {self.precision} only {self.agreement:.1%} of {self.images} images get the "
                f"class that Keras gives them, and {agreement:.0%} must. Nothing was written. A "
                "network that is not trained gives classes that rounding decides; else export in "
                "float32."
            )


def compare(
    keras: np.ndarray, ours: np.ndarray, precision: str, float32: np.ndarray | None
) -> Comparison:
    """Compare outputs for the same images.

    Args:
        keras: outputs of the Keras network, `(N, C)`.
        ours: those of the exported one in the precision that it runs in.
        precision: its name.
        float32: those of the exported graph in float32, if it has that.

    Returns:
        A `Comparison`; outputs that are no numbers make it fail its check.
    """
    scale = float(np.abs(keras).max()) or 1.0
    return Comparison(
        images=len(keras),
        difference=None if float32 is None else float(np.abs(float32 - keras).max()) / scale,
        precision=precision,
        agreement=float((ours.argmax(1) == keras.argmax(1)).mean()),
        largest=float(np.abs(ours - keras).max()),
    )
