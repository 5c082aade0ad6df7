"""zeromodels as a contestant, by the backend of Keras that the environment names.

Options: mode, batch_size, precision (a policy of Keras).
"""

import sys

import keras
import numpy as np
import zeromodels
from turns import read_options, serve
from zeromodels.models.senet import SENetImageClassify

SIZE, CLASSES = 224, 1000


def main():
    """Take part."""
    options = read_options()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(options["precision"])
    model = SENetImageClassify(
        depths=(3, 4, 6, 3), num_classes=CLASSES, classifier_activation="softmax"
    )
    rng, size = np.random.default_rng(0), options["batch_size"]
    images = rng.standard_normal((size, SIZE, SIZE, 3), "float32")
    targets = np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, size)]
    if options["mode"] == "train":
        model.compile(
            keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
            jit_compile=False,
        )

        def step():
            return float(model.train_on_batch(images, targets))

    else:

        def step():
            return model.predict_on_batch(images)

    backend = keras.backend.backend()
    about = dict(
        network=f"zeromodels {zeromodels.__version__}",
        engine=f"keras {keras.__version__}, {backend} {sys.modules[backend].__version__}",
        precision=options["precision"],
        batch_size=size,
        parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
    )
    serve(step, about)


if __name__ == "__main__":
    main()
