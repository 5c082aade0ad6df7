"""`senet.fold`: a trained network without the gates that do nothing."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import keras

from senet import applications, surgery
from senet.errors import ExistsError, FileError, InputError, one_family
from senet.evaluation import PairedDifference, describe_seen
from senet.explanation.findings import label_block
from senet.explanation.folding import Folding, Step, Worth, describe_folding, measure_folding
from senet.files import making_parents, replacing, write_json
from senet.foreign import read_json
from senet.plotting.folding import draw_tradeoff
from senet.prediction.labelled import labelled_images, take_held_out
from senet.prediction.trained import TrainedLike, load_in_keras
from senet.tasks.arguments import require_count, require_gates, require_points

IMAGES = 2000
"""Images to take means over and to choose by, where no number is said."""


@dataclasses.dataclass(frozen=True, repr=False)
class FoldingResult:
    """A network without the gates that can go, and what each of them is worth.

    Args:
        model: the network without them; its card says in `folded` which they were.
        folding: the numbers.
        about: `data`, and how many test images were left out because the network was trained on
            them (`trained_on`), and `warnings`.
        file: that was written, or `None`.

    Example:
        >>> found = senet.fold("runs/digits", max_drop=1)
        >>> len(found.worth)
        9
        >>> found.model.count_params() <= senet.load("runs/digits").count_params()
        True
    """

    model: keras.Model
    folding: Folding
    about: dict[str, Any]
    file: pathlib.Path | None = None

    @property
    def folded(self) -> tuple[str, ...]:
        """Blocks whose gates went, the cheapest first, by the name of the layer that scales."""
        return tuple(self.folding.gates)

    @property
    def worth(self) -> list[Worth]:
        """What each gate is worth alone, in network order, on validation images."""
        return self.folding.worth

    @property
    def steps(self) -> list[Step]:
        """The networks from none folded to all, the cheapest gate first, on validation images."""
        return self.folding.steps

    @property
    def top1_before(self) -> float:
        """Top-1 of the network as it was on test images, 0 to 1."""
        return self.folding.before.top1

    @property
    def top1(self) -> float:
        """Top-1 of the folded network on the same images, 0 to 1."""
        return self.folding.after.top1

    @property
    def difference(self) -> PairedDifference:
        """Of the two scores on the same test images, with its interval."""
        return self.folding.paired

    @property
    def warnings(self) -> list[str]:
        """What was left out, and what makes the scores other than they seem, a sentence each."""
        return [*self.about["warnings"], *self.folding.warnings]

    def save(self, file: str | os.PathLike) -> None:
        """Write the network, its numbers and the picture of the trade-off.

        Args:
            file: `FILE.keras` for the network; beside it go `FILE.json` and `FILE.png`. An earlier
                folding there is replaced.

        Raises:
            InputError: the file has another ending.
            ExistsError: there is something else.
        """
        with one_family():
            network = _require_place(file)
            with making_parents(network):
                self._write(network)

    def _write(self, network: pathlib.Path) -> None:
        """Write the three files; none appears before all are written."""
        numbers = self.to_json() | {"out": str(network)}
        with (
            replacing(network.with_suffix(".json")) as json_file,
            replacing(network.with_suffix(".png")) as picture,
            replacing(network) as written,
        ):
            applications.save(self.model, written)
            self.draw(picture)
            write_json(json_file, numbers)

    def draw(self, file: str | os.PathLike) -> None:
        """Draw accuracy, loss and costs as gates go one after the other.

        Args:
            file: that is written, ending in `.png` or `.svg`.
        """
        steps = self.steps
        draw_tradeoff(
            ["none"] + [f"+ {label_block(step.block or '')}" for step in steps[1:]],
            [step.to_json() for step in steps],
            file,
            chosen=len(self.folded),
            allowed=steps[0].score.top1 - self.folding.max_drop / 100,
            title=f"Gates folded one after the other, on {self.folding.images} validation images",
        )

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values: the last line of `senet fold`."""
        out = {} if self.file is None else dict(out=str(self.file))
        return self.about | self.folding.to_json() | dict(warnings=self.warnings) | out

    def __str__(self) -> str:
        """Each gate alone, the gates one after the other, and what came of it."""
        lines = [*describe_folding(self.folding), *describe_seen(self.about)]
        if self.file is not None:
            lines.append(f"written: {self.file}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "\n".join([str(self), *(f"warning: {line}" for line in self.warnings)])


@one_family()
def fold(
    trained: TrainedLike,
    out: str | os.PathLike | None = None,
    *,
    weights: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
    class_map: str | os.PathLike | None = None,
    blocks: str | Sequence[str] = (),
    max_drop: float = 0.1,
    images: int = IMAGES,
    batch_size: int = 64,
) -> FoldingResult:
    """Measure what each gate of a trained network is worth, and take away those that do nothing.

    A gate that hardly varies can be a constant, its mean over training images, which the layers
    around it take in exactly (`senet.fold_gates`); or it can be dropped. Each is measured alone on
    validation images, then one after the other, those first that cost least. As many go as
    `max_drop` allows there; test images confirm it once or not, and the result says which.

    Args:
        trained: a run folder or what `senet.train` gave, a file, `"se_resnet50.imagenet"`, or a
            network from `senet.load`; all but a run need `data`.
        out: `FILE.keras` for the network, beside which `FILE.json` and `FILE.png` are written; an
            earlier folding there is replaced. Without it nothing is written; `save` of the result
            does it later.
        weights: published weights, where `trained` is the name of a network.
        data: labelled images; by default those of the run.
        class_map: file that renames or merges classes, `.csv` or `.json`.
        blocks: those that may lose their gates, by name or shell pattern, as `"stage4_*"`; by
            default all.
        max_drop: top-1 that may be lost on validation images, percentage points, 0 to 100.
        images: training images for the means and validation images to choose by, at most; at
            least 10. Of test images all count.
        batch_size: images in a batch.

    Returns:
        A `FoldingResult`, with the network in `model`.

    Raises:
        InputError: the network has no squeeze-and-excitation blocks, or none of a name, or lacks
            class names or preprocessing; or the data have no training, validation and test images.
        NotFoundError: there is no such network or data.
        ExistsError: there is something else at `out`, or beside it.
        FileError: no file can be written there, which is said before the work.

    Example:
        >>> found = senet.fold("runs/digits", "folded.keras", max_drop=1, blocks="stage3_*")
        >>> [worth.block for worth in found.worth]
        ['stage3_block1_se_scale', 'stage3_block2_se_scale', 'stage3_block3_se_scale']
        >>> senet.load("folded.keras").card.folded.keys() == set(found.folded)
        True

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2: SE of the last stage can go at a loss below 0.1 %
        of top-5.
    """
    require_count("images", images, 10)
    require_count("batch_size", batch_size)
    require_points("max_drop", max_drop)
    loaded = load_in_keras(trained, weights)
    if out is not None:  # what may not be replaced is refused before the work
        _require_place(out, loaded.where)
    require_gates(loaded)
    found = labelled_images(loaded, data, "validation", class_map)  # drawn where test is
    about, unseen = found.about("test"), {}
    for name in ("validation", "test"):
        if name in found.data.splits:
            unseen[name], seen = take_held_out(loaded, found, name)
            about |= seen if name == "test" else {f"{name}_trained_on": seen["trained_on"]}
    with contextlib.ExitStack() as place:
        if out is not None:  # where nothing can be written is said before the work
            place.enter_context(making_parents(out))
            _require_writable(pathlib.Path(out).absolute().parent)
        folding = measure_folding(
            loaded.model,
            dataclasses.replace(found.data, splits=found.data.splits | unseen),
            loaded.preprocessing,
            blocks=[blocks] if isinstance(blocks, str) else blocks,
            max_drop=max_drop,
            images=images,
            batch_size=batch_size,
        )
        result = FoldingResult(surgery.fold_gates(loaded.model, folding.gates), folding, about)
        if out is None:
            return result
        result = dataclasses.replace(result, file=pathlib.Path(out))
        result._write(pathlib.Path(out))
    return result


def _require_writable(folder: pathlib.Path) -> None:
    """Refuse a folder in which no file can be made.

    Raises:
        FileError: it is one.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise FileError(f"No file can be written in {str(folder)!r}: {error.strerror}.") from None


def _require_place(file: str | os.PathLike, source: str = "") -> pathlib.Path:
    """Refuse a file that is no place for a folded network.

    Raises:
        InputError: it does not end in `.keras`, or is what is to be folded.
        ExistsError: there is something else than an earlier folding, or beside it.
    """
    path = pathlib.Path(file)
    if path.suffix != ".keras":
        raise InputError(f"A folded network goes to a file that ends in .keras; got {str(path)!r}.")
    if source and path.exists() and os.path.exists(source) and os.path.samefile(path, source):
        raise InputError(f"{str(path)!r} is what is to be folded: name another file to write.")
    if not _has_numbers(path):
        for other in (path, path.with_suffix(".json"), path.with_suffix(".png")):
            if other.exists():
                raise ExistsError(
                    f"{str(other)!r} exists and was not written by senet fold: name another file."
                )
    return path


def _has_numbers(path: pathlib.Path) -> bool:
    """Whether the numbers of a folding that was written to this file lie beside it."""
    try:
        numbers = read_json(path.with_suffix(".json"))
    except (ValueError, OSError):
        return False
    return (
        isinstance(numbers, dict)
        and {"folded", "worth", "steps"} <= numbers.keys()
        and isinstance(numbers.get("out"), str)
        and pathlib.PurePath(numbers["out"]).name == path.name
        and not path.is_dir()
    )
