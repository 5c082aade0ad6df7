"""SE-ResNet, from the whole to its parts.

    inputs -> stem -> learner -> classifier                          a network
    learner          = se_group, se_group, se_group, se_group        macro-architecture
    se_group         = projection_block, identity_block, ...
    projection_block = merge(1x1 convolution, residual branch)       micro-architecture
    identity_block   = merge(its input, residual branch)
    residual branch  = 1x1, 3x3, 1x1, squeeze_excite_block

SE-ResNet-50 by hand:

    inputs = keras.Input((224, 224, 3))
    x = stem(inputs)
    x = learner(x, ratio=16)
    outputs = classifier(x, 1000)
    model = keras.Model(inputs, outputs)

Reference: Hu et al., arXiv 1709.01507, table 1 and figure 3; He et al., arXiv 1512.03385.
"""

from senet.models.blocks import (
    basic,
    bottleneck,
    channel_axis,
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


def learner(x, ratio=16, *, spec=None, name=None):
    """The body of the network: four groups, each at half the resolution of the one before.

    Args:
        x: feature maps from the stem, `(N, H, W, 64)`.
        ratio: integer that divides the channels in the squeeze; `None` builds a plain ResNet.
        spec: a `Spec`; its `n_blocks` and `n_filters` make other depths and widths.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / 8, W / 8, 2048)` for SE-ResNet-50.

    Example:
        >>> x = stem(keras.Input((224, 224, 3)))
        >>> learner(x, ratio=16).shape
        (None, 7, 7, 2048)
    """
    spec = spec or Spec()
    for i, group in enumerate(spec.groups()):
        x = se_group(
            x,
            group.n_blocks,
            group.n_filters,
            ratio,
            strides=group.strides,
            spec=group.specs,
            name=role(name, f"stage{i + 1}"),
        )
    return x


def se_group(x, n_blocks, n_filters, ratio, strides=(2, 2), *, spec=None, name=None):
    """Blocks at one resolution: a projection block, then identity blocks.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_blocks: number of blocks.
        n_filters: filters of the 1x1 and 3x3 convolutions; four times as many come out.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        strides: of the projection block.
        spec: a `Spec` for everything else, or a tuple of one for each block. With
            `residual="basic"` a group that changes neither resolution nor filters starts with an
            identity block (He et al., section 4.1).
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, 4 n_filters)`.
    """
    (first, spec), *others = each_block(name, n_blocks, spec or Spec())
    if spec.residual == "basic" and _keeps_shape(x, n_filters, strides):
        x = identity_block(x, n_filters, ratio, spec=spec, name=first)
    else:
        x = projection_block(x, n_filters, strides, ratio, spec=spec, name=first)
    for block, spec in others:
        x = identity_block(x, n_filters, ratio, spec=spec, name=block)
    return x


def projection_block(x, n_filters, strides=(2, 2), ratio=16, *, spec=None, name=None):
    """Residual block that changes the shape; a strided 1x1 convolution projects its shortcut.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_filters: filters of the 1x1 and 3x3 convolutions; four times as many come out.
        strides: of the projection and of the first 1x1 (with `spec.strided="3x3"`: of the 3x3).
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, 4 n_filters)`.
    """
    spec = spec or Spec()
    filters_out = spec.expansion * n_filters
    shortcut = projection(x, filters_out, strides, spec=spec, name=role(name, "projection"))
    residual = _residual(x, n_filters, strides, ratio, spec, name)
    return merge(shortcut, residual, ratio, spec=spec, name=name)


def identity_block(x, n_filters, ratio=16, *, spec=None, name=None):
    """Residual block that keeps the shape; its shortcut is its input.

    Args:
        x: feature maps, `(N, H, W, 4 n_filters)`.
        n_filters: filters of the 1x1 and 3x3 convolutions.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H, W, 4 n_filters)`.
    """
    spec = spec or Spec()
    residual = _residual(x, n_filters, 1, ratio, spec, name)
    return merge(x, residual, ratio, spec=spec, name=name)


def _residual(x, n_filters, strides, ratio, spec, name):
    options = dict(strides=strides, ratio=ratio, spec=spec, name=name)
    if spec.residual == "basic":
        return basic(x, n_filters, **options)
    return bottleneck(x, n_filters, 4 * n_filters, **options)


def _keeps_shape(x, n_filters, strides):
    return strides in (1, (1, 1)) and x.shape[channel_axis()] == n_filters
