"""SE-ResNeXt: SE-ResNet with a wider 3x3 convolution that is split into groups.

    inputs -> stem -> learner -> classifier                          a network
    learner          = se_group, se_group, se_group, se_group        macro-architecture
    se_group         = projection_block, identity_block, ...
    projection_block = merge(1x1 convolution, residual branch)       micro-architecture
    identity_block   = merge(its input, residual branch)
    residual branch  = 1x1, grouped 3x3, 1x1, squeeze_excite_block

`cardinality` is the number of groups, 32 in SE-ResNeXt-50 (32x4d): each sees only
`filters_in / 32` channels, so the 3x3 can have twice the filters at the price of the plain one.
The stride sits in the 3x3, here and in every published ResNeXt.

Reference: Hu et al., arXiv 1709.01507, table 1; Xie et al., arXiv 1611.05431.
"""

from senet.models.blocks import (
    bottleneck,
    classifier,
    each_block,
    merge,
    projection,
    role,
    squeeze_excite_block,
    stem,
)
from senet.models.spec import Spec

__all__ = [
    "classifier",
    "identity_block",
    "learner",
    "projection_block",
    "se_group",
    "squeeze_excite_block",
    "stem",
]

SE_RESNEXT50 = Spec(cardinality=32, base_width=4, strided="3x3")


def learner(x, ratio=16, *, spec=None, name=None):
    """The body of the network: four groups, each at half the resolution of the one before.

    Args:
        x: feature maps from the stem, `(N, H, W, 64)`.
        ratio: integer that divides the channels in the squeeze; `None` builds a plain ResNeXt.
        spec: a `Spec`; its `n_blocks`, `n_filters`, `cardinality` and `base_width` make other
            depths and widths.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / 8, W / 8, 2048)`.

    Example:
        >>> x = stem(keras.Input((224, 224, 3)))
        >>> learner(x, ratio=16).shape
        (None, 7, 7, 2048)
    """
    spec = spec or SE_RESNEXT50
    for i, group in enumerate(spec.groups()):
        x = se_group(
            x,
            group.n_blocks,
            filters_in=group.n_filters * spec.base_width * spec.cardinality // 64,
            filters_out=group.n_filters * spec.expansion,
            cardinality=spec.cardinality,
            ratio=ratio,
            strides=group.strides,
            spec=group.specs,
            name=role(name, f"stage{i + 1}"),
        )
    return x


def se_group(
    x,
    n_blocks,
    filters_in,
    filters_out,
    cardinality=32,
    ratio=16,
    strides=(2, 2),
    *,
    spec=None,
    name=None,
):
    """Blocks at one resolution: a projection block, then identity blocks.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_blocks: number of blocks.
        filters_in: filters of the first 1x1 and of the 3x3 convolution.
        filters_out: filters of the last 1x1 convolution and of the shortcut.
        cardinality: groups of the 3x3 convolution.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        strides: of the projection block.
        spec: a `Spec` for everything else, or a tuple of one for each block.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters_out)`.
    """
    (first, spec), *others = each_block(name, n_blocks, spec or SE_RESNEXT50)
    filters = (filters_in, filters_out, cardinality)
    x = projection_block(x, *filters, strides, ratio, spec=spec, name=first)
    for block, spec in others:
        x = identity_block(x, *filters, ratio, spec=spec, name=block)
    return x


def projection_block(
    x, filters_in, filters_out, cardinality=32, strides=(2, 2), ratio=16, *, spec=None, name=None
):
    """Residual block that changes the shape; a strided 1x1 convolution projects its shortcut.

    Args:
        x: feature maps, `(N, H, W, C)`.
        filters_in: filters of the first 1x1 and of the 3x3 convolution.
        filters_out: filters of the last 1x1 convolution and of the shortcut.
        cardinality: groups of the 3x3 convolution.
        strides: of the projection and of the 3x3 convolution.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters_out)`.
    """
    spec = spec or SE_RESNEXT50
    shortcut = projection(x, filters_out, strides, spec=spec, name=role(name, "projection"))
    residual = bottleneck(
        x,
        filters_in,
        filters_out,
        strides=strides,
        cardinality=cardinality,
        ratio=ratio,
        spec=spec,
        name=name,
    )
    return merge(shortcut, residual, ratio, spec=spec, name=name)


def identity_block(x, filters_in, filters_out, cardinality=32, ratio=16, *, spec=None, name=None):
    """Residual block that keeps the shape; its shortcut is its input.

    Args:
        x: feature maps, `(N, H, W, filters_out)`.
        filters_in: filters of the first 1x1 and of the 3x3 convolution.
        filters_out: filters of the last 1x1 convolution.
        cardinality: groups of the 3x3 convolution.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H, W, filters_out)`.
    """
    spec = spec or SE_RESNEXT50
    residual = bottleneck(
        x, filters_in, filters_out, cardinality=cardinality, ratio=ratio, spec=spec, name=name
    )
    return merge(x, residual, ratio, spec=spec, name=name)
