"""Micro-architecture: the pieces that every network of the family is made of.

Conventions, stated once: convolutions have no bias and pad `(k - 1) // 2` on every side, strided
ones too; batch normalisation follows every convolution with epsilon 1e-5 and momentum 0.9, the
values of the paper's frameworks and not those of stock Keras (1e-3 and 0.99); weights start
He-normal. Shapes are written `(N, H, W, C)`; with `channels_first` read `(N, C, H, W)`.
"""

import keras
from keras import layers

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
            Caffe networks have them. Without one there are none, as in the paper's ablations.
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
        raise ValueError(
            f"ratio must be an integer from 1 to the number of channels, {filters} here, so that "
            f"at least one is left after the squeeze; got {ratio!r}."
        )
    options = dict(kernel_initializer="he_normal", use_bias=spec.se_bias, dtype=full_precision())
    per_channel = (filters, 1, 1) if channel_axis() == 1 else (1, 1, filters)

    gate = layers.GlobalAveragePooling2D(dtype=full_precision(), name=role(name, "squeeze"))(x)
    gate = layers.Dense(filters // ratio, "relu", name=role(name, "reduce"), **options)(gate)
    gate = layers.Dense(filters, "sigmoid", name=role(name, "excite"), **options)(gate)
    gate = layers.Reshape(per_channel, dtype=full_precision(), name=role(name, "gate"))(gate)
    return layers.Multiply(name=role(name, "scale"))([x, gate])


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
        raise ValueError(
            f"cardinality must divide the filters of the 3x3 convolution; got {cardinality} for "
            f"{filters_in} filters."
        )
    of_reduce, of_3x3 = (strides, 1) if spec.strided == "reduce" else (1, strides)
    x = conv_norm_relu(x, filters_in, 1, of_reduce, spec=spec, name=role(name, "reduce"))
    x = conv_norm_relu(
        x, filters_in, 3, of_3x3, groups=cardinality, spec=spec, name=role(name, "3x3")
    )
    x = conv_norm(x, filters_out, 1, spec=spec, name=role(name, "expand"))
    return _recalibrate(x, ratio, spec, name)


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
    x = conv_norm_relu(x, n_filters, 3, strides, spec=spec, name=role(name, "first_3x3"))
    x = conv_norm(x, n_filters, 3, spec=spec, name=role(name, "second_3x3"))
    return _recalibrate(x, ratio, spec, name)


def merge(shortcut, residual, *, name=None):
    """Add the residual branch to the shortcut, then ReLU.

    Raises:
        ValueError: the two differ in their channels.
    """
    have, need = shortcut.shape[channel_axis()], residual.shape[channel_axis()]
    if have != need:
        raise ValueError(
            f"The shortcut has {have} channels and the residual branch {need}, so they cannot be "
            "added. An identity block gives out what it takes in: start the group with a "
            "projection_block, which changes the channels, or feed it that many."
        )
    x = layers.Add(name=role(name, "add"))([shortcut, residual])
    return layers.ReLU(name=role(name, "relu"))(x)


def conv_norm(x, filters, kernel_size, strides=1, *, groups=1, spec=None, name=None):
    """Convolution without bias, batch normalisation."""
    spec = spec or Spec()
    if kernel_size > 1:
        x = layers.ZeroPadding2D((kernel_size - 1) // 2, name=role(name, "pad"))(x)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=role(name, "conv"),
    )(x)
    return layers.BatchNormalization(
        axis=channel_axis(),
        epsilon=spec.norm_epsilon,
        momentum=spec.norm_momentum,
        name=role(name, "bn"),
    )(x)


def conv_norm_relu(x, filters, kernel_size, strides=1, *, groups=1, spec=None, name=None):
    """Convolution without bias, batch normalisation, ReLU."""
    x = conv_norm(x, filters, kernel_size, strides, groups=groups, spec=spec, name=name)
    return layers.ReLU(name=role(name, "relu"))(x)


def stem(x, *, spec=None, name=None):
    """Entry of a network: 7x7/2 convolution, BN, ReLU, 3x3/2 max pooling.

    Args:
        x: images, `(N, H, W, channels)`.
        spec: a `Spec`; `stem="3x3"` replaces all this by a 3x3 convolution at full resolution,
            and `stem_pool` says on which sides the pooling is padded.
        name: prefix of the layer names.

    Returns:
        Feature maps, `(N, H / 4, W / 4, 64)`.

    Reference:
        Hu et al., arXiv 1709.01507, table 1.
    """
    spec = spec or Spec()
    if spec.stem == "3x3":
        return conv_norm_relu(x, spec.stem_filters, 3, spec=spec, name=name)
    x = conv_norm_relu(x, spec.stem_filters, 7, 2, spec=spec, name=name)
    # After a ReLU nothing is below zero, so zeros never win a maximum.
    sides = 1 if spec.stem_pool == "padded" else ((0, 1), (0, 1))
    x = layers.ZeroPadding2D(sides, name=role(name, "pool_pad"))(x)
    return layers.MaxPooling2D(3, strides=2, padding="valid", name=role(name, "pool"))(x)


def classifier(x, n_classes, *, activation="softmax", name=None):
    """Exit of a network: global average pooling, Dense, softmax.

    Args:
        x: feature maps, `(N, H, W, C)`.
        n_classes: number of classes.
        activation: of the dense layer; `None` gives logits.
        name: prefix of the layer names.

    Returns:
        A probability for each class, `(N, n_classes)`, in float32 under mixed precision too.
    """
    x = layers.GlobalAveragePooling2D(dtype=full_precision(), name=role(name, "pool"))(x)
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


def block_names(name: str | None, n_blocks: int) -> list[str | None]:
    """Names of the blocks of a group.

    Raises:
        ValueError: the group has no block.
    """
    if n_blocks < 1:
        raise ValueError(f"A group needs at least one block; got n_blocks={n_blocks!r}.")
    return [role(name, f"block{i + 1}") for i in range(n_blocks)]


def _recalibrate(x, ratio, spec, name):
    if ratio is None:
        return x
    return squeeze_excite_block(x, ratio, spec=spec, name=role(name, "se"))
