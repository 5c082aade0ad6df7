"""Micro-architecture: the pieces that every network of the family is made of.

Conventions, stated once: convolutions have no bias and pad `(k - 1) // 2` on every side, strided
ones too; batch normalisation follows every convolution with epsilon 1e-5 and momentum 0.9, the
values of the paper's frameworks and not those of stock Keras (1e-3 and 0.99); weights start
He-normal. Shapes are written `(N, H, W, C)`; with `channels_first` read `(N, C, H, W)`.
"""

import functools

import keras
from keras import layers

from senet.errors import InputError
from senet.models.spec import Spec

Strides = int | tuple[int, int]


def squeeze_excite_block(x, ratio=16, *, spec=None, name=None):
    """Scale every channel of `x` by a gate between 0 and 1 that is computed from the whole map.

    Squeeze, `z_c = mean over H, W of x_c`; excitation, `s = sigmoid(W2 relu(W1 z))`; scale,
    `s_c x_c`. Under a mixed precision policy squeeze, excitation and gate stay in float32.

    Args:
        x: feature maps, `(N, H, W, C)`.
        ratio: integer that divides the channels: `W1` is `(C, C // ratio)`.
        spec: a `Spec`; its `se_bias` gives the two dense layers biases, as the authors' released
            Caffe networks have them. Without one there are none, as in the paper's ablations. Its
            `squeeze` and `excitation` choose what tables 11, 12 and 16 compare.
        name: prefix of the layer names.

    Returns:
        The scaled maps, `(N, H, W, C)`.

    Raises:
        ValueError: `ratio` is not a positive integer, or is larger than the number of channels.

    Example:
        >>> x = keras.Input((56, 56, 256))
        >>> squeeze_excite_block(x, ratio=16).shape
        (None, 56, 56, 256)

    Reference:
        Hu et al., arXiv 1709.01507, section 3, equations 2 to 4.
    """
    spec = spec or Spec()
    filters = x.shape[channel_axis()]
    if not isinstance(ratio, int) or not 1 <= ratio <= filters:
        raise InputError(
            f"ratio must be an integer from 1 to the number of channels, {filters} here, so that "
            f"at least one is left after the squeeze; got {ratio!r}."
        )
    gate, dense = _squeeze(x, spec, name)
    gate = dense(squeezed_width(filters, ratio, spec), "relu", name=role(name, "reduce"))(gate)
    gate = dense(filters, spec.excitation, name=role(name, "excite"))(gate)
    if spec.squeeze != "none":
        per_channel = (filters, 1, 1) if channel_axis() == 1 else (1, 1, filters)
        gate = layers.Reshape(per_channel, dtype=full_precision(), name=role(name, "gate"))(gate)
    return layers.Multiply(name=role(name, "scale"))([x, gate])


def _squeeze(x, spec, name):
    """The squeezed map, and the kind of layer that the excitation is made of."""
    options = dict(kernel_initializer="he_normal", use_bias=spec.se_bias, dtype=full_precision())
    if spec.squeeze == "none":
        return x, functools.partial(_convolution_1x1, **options)
    pool = layers.GlobalMaxPooling2D if spec.squeeze == "max" else layers.GlobalAveragePooling2D
    x = pool(dtype=full_precision(), name=role(name, "squeeze"))(x)
    return x, functools.partial(layers.Dense, **options)


def _convolution_1x1(filters, activation, **options):
    return layers.Conv2D(filters, 1, activation=activation, **options)


def squeezed_width(filters: int, ratio: int, spec: Spec) -> int:
    """Channels between the two layers of the excitation: `filters / ratio`, rounded.

    Down, or with `spec.se_divisor` to the nearest multiple of that, at least one of it.
    """
    step = spec.se_divisor
    if step == 1:
        return filters // ratio
    return max(step, int(filters / ratio + step / 2) // step * step)


def recalibrate(x, placement, ratio, spec, name):
    """`squeeze_excite_block` where `spec.placement` is the given one, else `x` as it is."""
    if ratio is None or spec.se_at == () or spec.placement != placement:
        return x
    return squeeze_excite_block(x, ratio, spec=spec, name=role(name, "se"))


def bottleneck(
    x, filters_in, filters_out, *, strides=1, cardinality=1, ratio=16, spec=None, name=None
):
    """1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN, squeeze and excitation: the residual branch.

    Args:
        x: feature maps, `(N, H, W, C)`.
        filters_in: filters of the first 1x1 and of the 3x3.
        filters_out: filters of the last 1x1.
        strides: of the first 1x1 or of the 3x3, as `spec.strided` says.
        cardinality: groups of the 3x3.
        ratio: of the squeeze; `None` leaves squeeze and excitation out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters_out)`.

    Raises:
        ValueError: `cardinality` does not divide `filters_in`, or `ratio` is out of range.

    Reference:
        Hu et al., arXiv 1709.01507, figure 3 and table 1.
    """
    spec = spec or Spec()
    if filters_in % cardinality:
        raise InputError(
            f"cardinality must divide the filters of the 3x3 convolution; got {cardinality} for "
            f"{filters_in} filters."
        )
    x = recalibrate(x, "pre", ratio, spec, name)
    of_reduce, of_3x3 = (strides, 1) if spec.strided == "reduce" else (1, strides)
    width = filters_in // spec.reduce_divisor
    x = conv_norm_relu(x, width, 1, of_reduce, spec=spec, name=role(name, "reduce"))
    x = conv_norm_relu(
        x,
        filters_in,
        3,
        of_3x3,
        groups=cardinality,
        dilation=spec.dilation[spec.strided == "reduce"],
        antialias=spec.antialias,
        spec=spec,
        name=role(name, "3x3"),
    )
    x = recalibrate(x, "3x3", ratio, spec, name)
    x = conv_norm(x, filters_out, 1, gamma=_last_gamma(spec), spec=spec, name=role(name, "expand"))
    return recalibrate(x, "standard", ratio, spec, name)


def basic(x, n_filters, *, strides=1, ratio=16, spec=None, name=None):
    """3x3, BN, ReLU, 3x3, BN, squeeze and excitation: the residual branch of small networks.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_filters: filters of both convolutions.
        strides: of the first one.
        ratio: of the squeeze; `None` leaves squeeze and excitation out.
        spec: a `Spec` for everything else.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, n_filters)`.
    """
    spec = spec or Spec()
    before, behind = spec.dilation
    x = recalibrate(x, "pre", ratio, spec, name)
    x = conv_norm_relu(
        x,
        n_filters,
        3,
        strides,
        dilation=before,
        antialias=spec.antialias,
        spec=spec,
        name=role(name, "first_3x3"),
    )
    x = conv_norm(
        x,
        n_filters,
        3,
        dilation=behind,
        gamma=_last_gamma(spec),
        spec=spec,
        name=role(name, "second_3x3"),
    )
    if spec.last_relu:
        x = layers.ReLU(name=role(name, "second_3x3_relu"))(x)
    return recalibrate(x, "standard", ratio, spec, name)


def projection(x, filters, strides=1, *, spec=None, name=None):
    """1x1, BN: the shortcut of a block that changes the shape; other kinds are in the `Spec`.

    Args:
        x: feature maps, `(N, H, W, C)`.
        filters: number of channels to give out.
        strides: of the block.
        spec: a `Spec`; its `projection` chooses between a 1x1, a strided 3x3 (SENet-154) and
            average pooling before a 1x1 (ResNet-D).
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / strides, W / strides, filters)`.
    """
    spec = spec or Spec()
    strided = strides not in (1, (1, 1)) or spec.dilation[0] != spec.dilation[1]
    kernel_size, dilation = 1, 1
    if strided and spec.projection == "3x3":
        kernel_size, dilation = 3, spec.dilation[0]
    if strided and spec.projection == "average":
        x = layers.AveragePooling2D(2, strides, padding="same", name=role(name, "pool"))(x)
        strides = 1
    return conv_norm(x, filters, kernel_size, strides, dilation=dilation, spec=spec, name=name)


def merge(shortcut, residual, ratio=None, *, spec=None, name=None):
    """Add the residual branch to the shortcut, then ReLU.

    Args:
        shortcut: feature maps, `(N, H, W, C)`.
        residual: feature maps of the same shape.
        ratio: of a squeeze on the shortcut or behind the ReLU, where `spec.placement` puts it.
        spec: a `Spec`.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H, W, C)`.

    Raises:
        ValueError: the two differ in their channels.
    """
    spec = spec or Spec()
    have, need = shortcut.shape[channel_axis()], residual.shape[channel_axis()]
    if have != need:
        raise InputError(
            f"The shortcut has {have} channels and the residual branch {need}, so they cannot be "
            "added. An identity block gives out what it takes in: start the group with a "
            "projection_block, which changes the channels, or feed it that many."
        )
    shortcut = recalibrate(shortcut, "identity", ratio, spec, name)
    residual = drop_branch(residual, spec, name)
    x = layers.Add(name=role(name, "add"))([shortcut, residual])
    x = layers.ReLU(name=role(name, "relu"))(x)
    return recalibrate(x, "post", ratio, spec, name)


def drop_branch(x, spec, name):
    """Stochastic depth: in training, drop the residual branch of some images of a batch."""
    if not spec.stochastic_depth:
        return x
    one_per_image = (None, 1, 1, 1)
    return layers.Dropout(
        spec.stochastic_depth, noise_shape=one_per_image, name=role(name, "drop")
    )(x)


def conv(x, filters, kernel_size, strides=1, *, groups=1, dilation=1, name=None):
    """Convolution without bias, `dilation * (kernel_size - 1) // 2` zeros on every side.

    Raises:
        ValueError: it would be strided and dilated at once, which no stock convolution is.
    """
    if dilation > 1 and strides not in (1, (1, 1)):
        raise InputError(
            f"A convolution cannot have strides {strides} and dilation {dilation} at once. Leave "
            "dilation at (1, 1) and use output_stride=8 or 16, which trades strides for dilation."
        )
    if kernel_size > 1:
        x = layers.ZeroPadding2D(dilation * (kernel_size - 1) // 2, name=role(name, "pad"))(x)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        groups=groups,
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
        name=role(name, "conv"),
    )(x)


def norm(x, *, gamma="ones", spec=None, name=None):
    """Batch normalisation; `gamma` is what its scale starts with."""
    spec = spec or Spec()
    return layers.BatchNormalization(
        axis=channel_axis(),
        epsilon=spec.norm_epsilon,
        momentum=spec.norm_momentum,
        gamma_initializer=gamma,
        name=role(name, "bn"),
    )(x)


def norm_relu(x, *, spec=None, name=None):
    """Batch normalisation, ReLU."""
    return layers.ReLU(name=role(name, "relu"))(norm(x, spec=spec, name=name))


def conv_norm(
    x, filters, kernel_size, strides=1, *, groups=1, dilation=1, gamma="ones", spec=None, name=None
):
    """Convolution without bias, batch normalisation."""
    x = conv(x, filters, kernel_size, strides, groups=groups, dilation=dilation, name=name)
    return norm(x, gamma=gamma, spec=spec, name=name)


def conv_norm_relu(
    x,
    filters,
    kernel_size,
    strides=1,
    *,
    groups=1,
    dilation=1,
    antialias=False,
    spec=None,
    name=None,
):
    """Convolution without bias, batch normalisation, ReLU; with `antialias` a stride by pooling."""
    pooled = antialias and strides not in (1, (1, 1))
    inner = 1 if pooled else strides
    x = conv_norm(
        x, filters, kernel_size, inner, groups=groups, dilation=dilation, spec=spec, name=name
    )
    x = layers.ReLU(name=role(name, "relu"))(x)
    if pooled:
        x = layers.AveragePooling2D(strides, padding="same", name=role(name, "antialias"))(x)
    return x


def stem(x, *, spec=None, name=None):
    """Entry of a network: 7x7/2 convolution, BN, ReLU, 3x3/2 max pooling.

    Args:
        x: images, `(N, H, W, channels)`.
        spec: a `Spec`; `stem="deep"` has three 3x3 convolutions in place of the 7x7, `stem="3x3"`
            replaces all this by one at full resolution, and `stem_pool` says how to pool.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / 4, W / 4, 64)`.

    Reference:
        Hu et al., arXiv 1709.01507, table 1.
    """
    spec = spec or Spec()
    if spec.stem == "3x3":
        return conv_norm_relu(x, spec.stem_filters[0], 3, spec=spec, name=name)
    if spec.stem == "deep":
        for i, filters in enumerate(spec.stem_filters):
            strides, part = (2 if i == 0 else 1), role(name, f"conv{i + 1}")
            x = conv_norm_relu(x, filters, 3, strides, spec=spec, name=part)
    else:
        x = conv_norm_relu(x, spec.stem_filters[0], 7, 2, spec=spec, name=name)
    if spec.stem_pool == "average":
        return layers.AveragePooling2D(2, name=role(name, "pool"))(x)
    # After a ReLU nothing is below zero, so zeros never win a maximum.
    sides = 1 if spec.stem_pool == "padded" else ((0, 1), (0, 1))
    x = layers.ZeroPadding2D(sides, name=role(name, "pool_pad"))(x)
    return layers.MaxPooling2D(3, strides=2, padding="valid", name=role(name, "pool"))(x)


def classifier(x, n_classes, *, activation="softmax", spec=None, name=None):
    """Exit of a network: global average pooling, Dense, softmax.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_classes: number of classes.
        activation: of the dense layer; `None` gives logits.
        spec: a `Spec`; its `dropout` comes before the dense layer.
        name: prefix of the layer names.

    Returns:
        A probability for each class, `(N, n_classes)`, in float32 under mixed precision too.
    """
    x = layers.GlobalAveragePooling2D(dtype=full_precision(), name=role(name, "pool"))(x)
    if spec and spec.dropout:
        x = layers.Dropout(spec.dropout, dtype=full_precision(), name=role(name, "dropout"))(x)
    return layers.Dense(
        n_classes,
        activation,
        kernel_initializer="he_normal",
        dtype=full_precision(),
        name=name,
    )(x)


def channel_axis() -> int:
    """Axis of the channels under the current `image_data_format`."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def full_precision() -> str:
    """The type that variables have under the current policy: float32 under `mixed_bfloat16`."""
    return keras.config.dtype_policy().variable_dtype


def role(name: str | None, part: str) -> str | None:
    """Layer name of one part of a piece: `None` stays unnamed, `""` is the network itself."""
    return f"{name}_{part}" if name else None if name is None else part


def each_block(
    name: str | None, n_blocks: int, spec: Spec | tuple[Spec, ...]
) -> list[tuple[str | None, Spec]]:
    """Name and spec of every block of a group; one spec serves them all.

    Raises:
        ValueError: the group has no block, or not one spec for each.
    """
    if n_blocks < 1:
        raise InputError(f"A group needs at least one block; got n_blocks={n_blocks!r}.")
    specs = spec if isinstance(spec, tuple) else (spec,) * n_blocks
    if len(specs) != n_blocks:
        raise InputError(f"There must be one spec for each of {n_blocks} blocks; got {len(specs)}.")
    return [(role(name, f"block{i + 1}"), specs[i]) for i in range(n_blocks)]


def _last_gamma(spec):
    """What the scale of the last norm of a residual branch starts with."""
    return "zeros" if spec.zero_last_norm else "ones"
