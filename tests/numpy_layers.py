"""The equations of the layers in float64 NumPy, written from their definitions."""

import numpy as np


def conv(x, kernel, stride=1, pad=0, groups=1, dilation=1):
    """Cross-correlation with zeros around: x (N, H, W, C), kernel (k, k, C / groups, F)."""
    if dilation > 1:
        spread = np.zeros(
            (*(dilation * (side - 1) + 1 for side in kernel.shape[:2]), *kernel.shape[2:])
        )
        spread[::dilation, ::dilation] = kernel
        kernel = spread
    k, _, channels, filters = kernel.shape
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((side - k) // stride + 1 for side in x.shape[1:3])
    y = np.zeros((len(x), height, width, filters))
    for g in range(groups):
        ins = slice(g * channels, (g + 1) * channels)
        outs = slice(g * filters // groups, (g + 1) * filters // groups)
        for i in range(k):
            for j in range(k):
                part = x[:, i : i + stride * height : stride, j : j + stride * width : stride, ins]
                y[..., outs] += part @ kernel[i, j, :, outs]
    return y


def conv_gradients(x, kernel, dy, stride=1, pad=0, groups=1):
    """Gradients of sum(conv(x, kernel) * dy) with respect to x and kernel."""
    k, _, channels, filters = kernel.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dx, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
    height, width = dy.shape[1:3]
    for g in range(groups):
        ins = slice(g * channels, (g + 1) * channels)
        outs = slice(g * filters // groups, (g + 1) * filters // groups)
        for i in range(k):
            for j in range(k):
                where = (
                    slice(None),
                    slice(i, i + stride * height, stride),
                    slice(j, j + stride * width, stride),
                    ins,
                )
                dx[where] += dy[..., outs] @ kernel[i, j, :, outs].T
                dkernel[i, j, :, outs] += np.einsum("nhwc,nhwf->cf", padded[where], dy[..., outs])
    side = slice(pad, -pad or None)
    return dx[:, side, side], dkernel


def max_pool(x, size, stride):
    """Valid max pooling."""
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    return np.max(
        [
            x[:, i : i + stride * height : stride, j : j + stride * width : stride]
            for i in range(size)
            for j in range(size)
        ],
        axis=0,
    )


def average_pool(x, size, stride):
    """Average pooling whose last window may hang over the edge, out of which nothing counts."""
    height, width = (-(-(side - size) // stride) + 1 for side in x.shape[1:3])
    y = np.empty((len(x), height, width, x.shape[3]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = window.mean(axis=(1, 2))
    return y


def ceil_max_pool(x, size, stride):
    """Caffe's max pooling: the last window may hang over the edge, out of which nothing counts."""
    height, width = (-(-(side - size) // stride) + 1 for side in x.shape[1:3])
    y = np.empty((len(x), height, width, x.shape[3]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = window.max(axis=(1, 2))
    return y


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Weights:
    """Values of a model's variables in float64, by layer name."""

    def __init__(self, model, epsilon=1e-5):
        self.values = {
            layer.name: [np.asarray(w, "float64") for w in layer.get_weights()]
            for layer in model.layers
        }
        self.epsilon = epsilon

    def __call__(self, name):
        return self.values[name]

    def norm(self, x, name):
        gamma, beta, mean, variance = self(f"{name}_bn")
        return (x - mean) / np.sqrt(variance + self.epsilon) * gamma + beta

    def conv(self, x, name, stride=1, groups=1, dilation=1):
        (kernel,) = self(f"{name}_conv")
        pad = dilation * (kernel.shape[0] - 1) // 2
        return conv(x, kernel, stride, pad, groups, dilation)

    def conv_norm(self, x, name, stride=1, groups=1, dilation=1):
        return self.norm(self.conv(x, name, stride, groups, dilation), name)

    def dense(self, x, name):
        kernel, *bias = self(name)
        return x @ kernel.reshape(kernel.shape[-2:]) + (bias[0] if bias else 0)

    def block(self, x, name, spec, stride=1, squeeze=None):
        """A whole block with its options; `squeeze` is applied where `spec.placement` says."""
        kind = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": relu}[spec.excitation]

        def se(y, placement):
            if squeeze is None or placement != spec.placement:
                return y
            return self.squeeze_excite(y, f"{name}_se", spec.squeeze, kind)

        before, behind = spec.dilation
        activated = relu(self.norm(x, f"{name}_pre")) if spec.preactivation else x
        y = se(activated, "pre")
        last = self.conv if spec.preactivation else self.conv_norm
        if spec.residual == "basic":
            y = self._strided(y, f"{name}_first_3x3", stride, spec, dilation=before)
            y = last(y, f"{name}_second_3x3", dilation=behind)
            y = relu(y) if spec.last_relu else y
        else:
            first, second = (stride, 1) if spec.strided == "reduce" else (1, stride)
            y = relu(self.conv_norm(y, f"{name}_reduce", first))
            dilation = behind if spec.strided == "reduce" else before
            y = self._strided(
                y, f"{name}_3x3", second, spec, groups=spec.cardinality, dilation=dilation
            )
            y = last(se(y, "3x3"), f"{name}_expand")
        y = se(y, "standard")
        shortcut = x
        if f"{name}_projection_conv" in self.values:
            if spec.projection == "average" and stride > 1:
                shortcut, stride = average_pool(activated, 2, stride), 1
            else:
                shortcut = activated
            dilation = before if spec.projection == "3x3" else 1
            shortcut = last(shortcut, f"{name}_projection", stride, dilation=dilation)
        if spec.preactivation:
            return shortcut + y
        return se(relu(se(shortcut, "identity") + y), "post")

    def _strided(self, x, name, stride, spec, **options):
        if not (spec.antialias and stride > 1):
            return relu(self.conv_norm(x, name, stride, **options))
        x = relu(self.conv_norm(x, name, **options))
        return average_pool(x, stride, stride)

    def squeeze_excite(self, x, name, squeeze="mean", gate=sigmoid):
        pools = {"mean": np.mean, "max": np.max, "none": lambda x, axis, keepdims: x}
        z = pools[squeeze](x, axis=(1, 2), keepdims=True)
        return x * gate(self.dense(relu(self.dense(z, f"{name}_reduce")), f"{name}_excite"))
