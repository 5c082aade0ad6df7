"""What is published: where it lies, how it was scored, how its images are prepared.

Repositories, files, sizes, crops and licences are those of timm 1.0.31 and
segmentation_models.pytorch 0.6.0. Scores are those of timm's results-imagenet.csv, of `caffe_in1k`
those of Cadene's pretrained-models.pytorch: top-1 and top-5 in percent of the 50,000 validation
images, at `scored_at` pixels. They were not measured again here. Revisions are pinned where the
publisher pins them; a checksum is known only where the name of the file holds one. Whether the
files of smp-hub have a classifier is not known.
"""

import dataclasses
import difflib
import os
import pathlib
from typing import Any

from senet.errors import InputError

TIMM = "https://github.com/huggingface/pytorch-image-models"
RELEASE = f"{TIMM}/releases/download"
GLUON = "https://cv.gluon.ai/model_zoo/classification.html"
AUTHORS = "https://github.com/hujie-frank/SENet"
TORCHVISION = "https://github.com/pytorch/vision"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One row of the catalogue.

    Args:
        network: our name.
        tag: what `weights=` takes.
        repository: on the Hugging Face hub; `None` where the file is not there.
        url: of a file that is not on the hub.
        revision: commit of the repository, where it is known.
        sha256: of the file or its beginning, where it is known.
        variant: `"torch"` or `"caffe"`.
        size: side that the network is meant to read, pixels.
        crop_fraction: side of the centre crop over the shorter edge.
        interpolation: `"bicubic"` or `"bilinear"`, of the resizing.
        top1: published top-1 accuracy, percent; `None` where there is none.
        top5: published top-5 accuracy, percent.
        scored_at: side at which both were measured, pixels.
        larger: side, crop fraction and top-1 of a published score at a larger size.
        licence: of the weights, as timm states it; `None` where it is not stated.
        source: who trained them.
        file: name in the repository.
        mean: of each channel, R, G, B, of values between 0 and 1.
        std: of each channel.
        classes: number of classes.
    """

    network: str
    tag: str
    repository: str | None = None
    url: str | None = None
    revision: str | None = None
    sha256: str | None = None
    variant: str = "torch"
    size: int = 224
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    top1: float | None = None
    top5: float | None = None
    scored_at: int = 224
    larger: tuple[int, float, float] | None = None
    licence: str | None = "apache-2.0"
    source: str = TIMM
    file: str = "model.safetensors"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    classes: int = 1000

    @property
    def id(self) -> str:
        """Network and tag: `se_resnet50.ra2_in1k`."""
        return f"{self.network}.{self.tag}"

    def preprocessing(self) -> dict[str, Any]:
        """How images become inputs, as the card of a network has it."""
        names = ("size", "crop_fraction", "interpolation", "mean", "std")
        values = {name: getattr(self, name) for name in names}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _timm(network: str, tag: str, **fields: Any) -> Published:
    name = network.replace("se_res", "seres")
    return Published(network=network, tag=tag, repository=f"timm/{name}.{tag}", **fields)


def _torchvision(network: str, top1: float, top5: float) -> Published:
    return _timm(
        network,
        "tv_in1k",
        top1=top1,
        top5=top5,
        licence="bsd-3-clause",
        source=TORCHVISION,
        interpolation="bilinear",
    )


def _smp(network: str, revision: str, top1: float, top5: float) -> Published:
    return Published(
        network=network,
        tag="caffe_in1k",
        repository=f"smp-hub/{network}.imagenet",
        revision=revision,
        variant="caffe",
        interpolation="bilinear",
        top1=top1,
        top5=top5,
        licence=None,
        source=AUTHORS,
    )


def _legacy(network: str, file: str, top1: float, top5: float, **about: Any) -> Published:
    release = "v0.1-cadene" if file.startswith("se_resnet") else "v0.1-weights"
    return Published(
        network=network,
        tag="legacy_in1k",
        url=f"{RELEASE}/{release}/{file}",
        sha256=file.removesuffix(".pth").split("-")[-1],
        variant="caffe",
        top1=top1,
        top5=top5,
        **{"interpolation": "bilinear", "source": AUTHORS} | about,
    )


_A: dict[str, Any] = dict(crop_fraction=0.95, source="https://arxiv.org/abs/2110.00476")
_AH: dict[str, Any] = dict(crop_fraction=0.95)

ROWS = (
    _timm("se_resnet50", "ra2_in1k", top1=80.260, top5=95.068, larger=(288, 0.95, 81.288)),
    _timm("se_resnet50", "a1_in1k", top1=80.012, top5=94.704, larger=(288, 1.0, 81.114), **_A),
    _timm("se_resnet50", "a2_in1k", top1=80.102, top5=94.720, larger=(288, 1.0, 81.094), **_A),
    _timm(
        "se_resnet50",
        "a3_in1k",
        size=160,
        top1=75.104,
        top5=92.096,
        scored_at=160,
        larger=(224, 0.95, 77.036),
        **_A,
    ),
    _smp("se_resnet50", "e6b4bc2dc85226c3d3474544410724a485455459", 77.636, 93.752),
    _smp("se_resnet101", "71fe95cc0a27f444cf83671f354de02dc741b18b", 78.396, 94.258),
    _smp("se_resnet152", "e79fc3d9d76f197bd76a2593c2054edf1083fe32", 78.658, 94.374),
    _timm(
        "se_resnet152d",
        "ra2_in1k",
        size=256,
        crop_fraction=0.95,
        top1=83.702,
        top5=96.794,
        scored_at=256,
        larger=(320, 1.0, 84.344),
    ),
    _timm("se_resnext26d_32x4d", "bt_in1k", top1=77.592, top5=93.614, larger=(288, 0.95, 78.816)),
    _timm("se_resnext26t_32x4d", "bt_in1k", top1=77.980, top5=93.750, larger=(288, 0.95, 78.736)),
    _timm("se_resnext50_32x4d", "racm_in1k", top1=81.268, top5=95.624, larger=(288, 0.95, 82.186)),
    _timm("se_resnext50_32x4d", "gluon_in1k", top1=79.916, top5=94.816, source=GLUON),
    _smp("se_resnext50_32x4d", "73246406d879a2b0e3fdfe6fddd56347d38f38ae", 79.076, 94.434),
    _timm("se_resnext101_32x4d", "gluon_in1k", top1=80.886, top5=95.268, source=GLUON),
    _smp("se_resnext101_32x4d", "18808a4276f46421d358a9de554e0b93c2795df4", 80.236, 95.028),
    _timm("se_resnext101_64x4d", "gluon_in1k", top1=80.884, top5=95.308, source=GLUON),
    _timm(
        "se_resnext101_32x8d", "ah_in1k", top1=83.618, top5=96.412, larger=(288, 1.0, 84.192), **_AH
    ),
    _timm(
        "se_resnext101d_32x8d",
        "ah_in1k",
        top1=83.702,
        top5=96.620,
        larger=(288, 1.0, 84.380),
        **_AH,
    ),
    _timm(
        "se_resnextaa101d_32x8d",
        "sw_in12k_ft_in1k",
        top1=85.956,
        top5=97.824,
        larger=(288, 1.0, 86.524),
    ),
    _timm(
        "se_resnextaa101d_32x8d",
        "sw_in12k_ft_in1k_288",
        size=288,
        crop_fraction=0.95,
        top1=86.530,
        top5=98.094,
        scored_at=288,
        larger=(320, 1.0, 86.722),
    ),
    _timm(
        "se_resnextaa101d_32x8d",
        "ah_in1k",
        top1=83.900,
        top5=96.648,
        larger=(288, 1.0, 84.580),
        **_AH,
    ),
    _timm(
        "se_resnextaa201d_32x8d",
        "sw_in12k_ft_in1k_384",
        size=384,
        crop_fraction=1.0,
        top1=87.304,
        top5=98.334,
        scored_at=384,
    ),
    _timm("senet154", "gluon_in1k", top1=81.258, top5=95.358, source=GLUON),
    _smp("senet154", "249f45efc9881ba560a0c480128edbc34ab87e40", 81.304, 95.498),
    _legacy(
        "se_resnet18",
        "seresnet18-4bb0ce65.pth",
        71.742,
        90.340,
        interpolation="bicubic",
        source=TIMM,
    ),
    _legacy(
        "se_resnet34",
        "seresnet34-a4004e63.pth",
        74.788,
        92.134,
        source=TIMM,
    ),
    _legacy("se_resnet50", "se_resnet50-ce0d4300.pth", 77.650, 93.732),
    _legacy("se_resnet101", "se_resnet101-7e38fcc6.pth", 78.370, 94.264),
    _legacy("se_resnet152", "se_resnet152-d17c99b7.pth", 78.662, 94.370),
    _legacy(
        "se_resnext26_32x4d",
        "seresnext26_32x4d-65ebdb501.pth",
        77.100,
        93.332,
        interpolation="bicubic",
        source=TIMM,
    ),
    _legacy("se_resnext50_32x4d", "legacy_se_resnext50_32x4d-f3651bad.pth", 79.080, 94.428),
    _legacy("se_resnext101_32x4d", "legacy_se_resnext101_32x4d-37725eac.pth", 80.274, 95.032),
    _legacy("senet154", "legacy_senet154-e9eb9fe6.pth", 81.320, 95.502),
    _torchvision("resnet18", 69.752, 89.082),
    _torchvision("resnet34", 73.298, 91.422),
    _torchvision("resnet50", 76.156, 92.866),
    _torchvision("resnet101", 77.404, 93.552),
    _torchvision("resnet152", 78.330, 94.046),
    _torchvision("resnext50_32x4d", 77.632, 93.674),
    _torchvision("resnext101_32x8d", 79.308, 94.530),
)
"""Of each network the default first: `weights="imagenet"`. It is the one with the best score at 224
pixels, or at its own size where that is 256: timm's on the hub, or where there is none the only one
that there is."""


def table() -> tuple[Published, ...]:
    """Every row, the default of each network before its others."""
    return ROWS


def tags(network: str) -> list[str]:
    """Tags of a network's published weights, the default first."""
    return [row.tag for row in ROWS if row.network == network]


def is_tag(text: str) -> bool:
    """Whether a text is the tag of published weights alone, which leaves the network open.

    A file of that name comes before the tag, the tag before a folder of that name: `./imagenet` is
    the folder. What is there under no name can only be meant as a tag.

    Example:
        >>> is_tag("imagenet"), is_tag("se_resnet50.imagenet"), is_tag("runs/pets")
        (True, False, False)
    """
    path = pathlib.Path(text)
    if os.sep in text or len(path.parts) != 1 or path.suffix or path.is_file():
        return False
    return is_known(text) or not path.exists()


def is_known(tag: str) -> bool:
    """Whether any published weights have this tag."""
    return tag == "imagenet" or any(tag == row.tag for row in ROWS)


def default_tag(network: str) -> str:
    """What `weights="imagenet"` stands for.

    Raises:
        ValueError: nothing is published for the network.
    """
    known = tags(network)
    if not known:
        raise InputError(
            f"No weights are published for {network!r}. weights=None builds it, and weights= takes "
            "the path of a file; `senet list --weights` shows what is published."
        )
    return known[0]


def published(network: str, tag: str) -> Published:
    """The row of a network and a tag.

    Args:
        network: our name.
        tag: one of `tags(network)`, or `"imagenet"` for the default.

    Raises:
        ValueError: there are no such weights; the nearest are offered.
    """
    tag = default_tag(network) if tag == "imagenet" else tag
    if tag not in tags(network):
        default_tag(network)
        raise InputError(_unknown(tag, tags(network), f" for {network}"))
    return next(row for row in ROWS if (row.network, row.tag) == (network, tag))


def with_tag(tag: str) -> Published:
    """A row with this tag, of whatever network: all with one tag are normalised alike.

    Raises:
        ValueError: no weights have the tag.
    """
    rows = [row for row in ROWS if tag in (row.tag, "imagenet")]
    if not rows:
        raise InputError(_unknown(tag, sorted({row.tag for row in ROWS}), ""))
    return rows[0]


def _unknown(tag: str, known: list[str], where: str) -> str:
    near = difflib.get_close_matches(tag, known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"There are no weights {tag!r}{where} and no file of that name.{hint} Known: imagenet, "
        f"{', '.join(known)}."
    )
