"""SE-PreResNet and SE-WRN: SE-ResNet with norm and ReLU before each convolution.

    inputs -> stem -> learner -> classifier                          a network
    learner          = se_group, se_group, se_group                  macro-architecture
    se_group         = projection_block, identity_block, ...
    projection_block = 1x1 convolution of relu(norm(x)) + residual branch of the same
    identity_block   = x + residual branch of relu(norm(x))
    residual branch  = convolutions with norm and ReLU between them, squeeze_excite_block

These are the networks of the paper's CIFAR tables: ResNet-110 and ResNet-164 there have the error
rates of He et al.'s pre-activation networks, and WRN-16-8 is one. The paper does not say where
squeeze and excitation sit in them: here, as in every implementation seen, at the end of the
residual branch, before the addition. The shortcut carries the sum untouched through the whole
network, so that the learner ends in a norm and a ReLU of its own.

Reference: Hu et al., arXiv 1709.01507, tables 4 and 5; He et al., arXiv 1603.05027, figure 4(e);
Zagoruyko and Komodakis, arXiv 1605.07146.
"""

from keras import layers

from senet.models import blocks
from senet.models.blocks import (
    classifier,
    conv,
    conv_norm_relu,
    drop_branch,
    each_block,
    norm_relu,
    recalibrate,
    role,
    squeeze_excite_block,
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

SE_PRERESNET164 = Spec(
    n_blocks=(18, 18, 18),
    n_filters=(16, 32, 64),
    preactivation=True,
    strided="3x3",
    stem="3x3",
    stem_filters=(16,),
    input_size=32,
)


def stem(x, *, spec=None, name=None):
    """Entry of the network: a 3x3 convolution; its norm and ReLU are those of the first block.

    Args:
        x: images, `(N, H, W, channels)`.
        spec: a `Spec`; its `stem_filters` say how many maps come out.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H, W, 16)`.
    """
    spec = spec or SE_PRERESNET164
    if spec.stem != "3x3":
        return blocks.stem(x, spec=spec, name=name)
    return conv(x, spec.stem_filters[0], 3, name=name)


def learner(x, ratio=16, *, spec=None, name=None):
    """The body of the network: three groups, each at half the resolution of the one before.

    Args:
        x: feature maps from the stem, `(N, H, W, 16)`.
        ratio: integer that divides the channels in the squeeze; `None` builds a plain network.
        spec: a `Spec`; its `n_blocks` and `n_filters` make other depths and widths.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / 4, W / 4, 256)` for SE-PreResNet-164.
    """
    spec = spec or SE_PRERESNET164
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
    return norm_relu(x, spec=spec, name=role(name, "final"))


def se_group(x, n_blocks, n_filters, ratio, strides=(2, 2), *, spec=None, name=None):
    """Blocks at one resolution: a projection block where the shape changes, then identity blocks.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_blocks: number of blocks.
        n_filters: filters of the inner convolutions; a bottleneck gives out four times as many.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        strides: of the first block.
        spec: a `Spec` for everything else, or a tuple of one for each block.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters)`.
    """
    (first, spec), *others = each_block(name, n_blocks, spec or SE_PRERESNET164)
    if strides in (1, (1, 1)) and x.shape[blocks.channel_axis()] == n_filters * spec.expansion:
        x = identity_block(x, n_filters, ratio, spec=spec, name=first)
    else:
        x = projection_block(x, n_filters, strides, ratio, spec=spec, name=first)
    for block, spec in others:
        x = identity_block(x, n_filters, ratio, spec=spec, name=block)
    return x


def projection_block(x, n_filters, strides=(2, 2), ratio=16, *, spec=None, name=None):
    """Residual block that changes the shape; a 1x1 convolution projects the activated input.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_filters: filters of the inner convolutions; a bottleneck gives out four times as many.
        strides: of the projection and of the residual branch.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters)`.
    """
    spec = spec or SE_PRERESNET164
    x = norm_relu(x, spec=spec, name=role(name, "pre"))
    filters_out = spec.expansion * n_filters
    shortcut = conv(x, filters_out, 1, strides, name=role(name, "projection"))
    residual = _residual(x, n_filters, strides, ratio, spec, name)
    return layers.Add(name=role(name, "add"))([shortcut, residual])


def identity_block(x, n_filters, ratio=16, *, spec=None, name=None):
    """Residual block that keeps the shape; its shortcut is its input as it came.

    Args:
        x: feature maps, `(N, H, W, filters)`.
        n_filters: filters of the inner convolutions; a bottleneck gives out four times as many.
        ratio: integer that divides the channels in the squeeze; `None` leaves it out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H, W, filters)`.
    """
    spec = spec or SE_PRERESNET164
    activated = norm_relu(x, spec=spec, name=role(name, "pre"))
    residual = _residual(activated, n_filters, 1, ratio, spec, name)
    return layers.Add(name=role(name, "add"))([x, residual])


def _residual(x, n_filters, strides, ratio, spec, name):
    """The residual branch of maps that are activated already."""
    before, behind = spec.dilation
    if spec.residual == "basic":
        x = conv_norm_relu(
            x, n_filters, 3, strides, dilation=before, spec=spec, name=role(name, "first_3x3")
        )
        x = conv(x, n_filters, 3, dilation=behind, name=role(name, "second_3x3"))
    else:
        of_reduce, of_3x3 = (strides, 1) if spec.strided == "reduce" else (1, strides)
        dilation = behind if spec.strided == "reduce" else before
        x = conv_norm_relu(x, n_filters, 1, of_reduce, spec=spec, name=role(name, "reduce"))
        x = conv_norm_relu(
            x, n_filters, 3, of_3x3, dilation=dilation, spec=spec, name=role(name, "3x3")
        )
        x = conv(x, 4 * n_filters, 1, name=role(name, "expand"))
    x = recalibrate(x, "standard", ratio, spec, name)
    return drop_branch(x, spec, name)
