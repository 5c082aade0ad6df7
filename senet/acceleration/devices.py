"""What the machine has, as far as an idea depends on it."""


def tensorflow_has_gpu() -> bool:
    """Whether TensorFlow sees a GPU, where its own kernels are better than what stands in here."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
