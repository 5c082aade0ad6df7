"""The equations of the layers in float64 NumPy, written from their definitions."""

import numpy as np


def conv(x, kernel, stride=1, pad=0, groups=1):
    """Cross-correlation with zeros around: x (N, H, W, C), kernel (k, k, C / groups, F)."""
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

    def conv_norm(self, x, name, stride=1, groups=1):
        (kernel,) = self(f"{name}_conv")
        return self.norm(conv(x, kernel, stride, (kernel.shape[0] - 1) // 2, groups), name)

    def dense(self, x, name):
        kernel, *bias = self(name)
        return x @ kernel + (bias[0] if bias else 0)

    def squeeze_excite(self, x, name):
        z = x.mean(axis=(1, 2))
        s = sigmoid(self.dense(relu(self.dense(z, f"{name}_reduce")), f"{name}_excite"))
        return x * s[:, None, None, :]
