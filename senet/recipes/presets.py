"""Recipes by name, as data: what each sets otherwise than the defaults."""

from typing import Any

from senet.models.family import require

DEFAULT = "quick"
"""The recipe to start from where none is named."""

# Inner dict()s keep fields of one matter in a line, whatever the formatter would do.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "paper": dict(
        **dict(model="se_resnet50", size=224),
        **dict(epochs=100, batch_size=1024, learning_rate=0.6, reference_batch=1024),
        **dict(nesterov=False, schedule="step", warmup=0.0, weight_decay=1e-4),
        **dict(label_smoothing=0.0, crop="resized", area=0.08, flip=0.5, jitter=0.0),
    ),
    "modern": dict(
        **dict(epochs=100, learning_rate=0.5, reference_batch=1024, warmup=0.05),
        **dict(weight_decay=5e-5, mixup=0.2, cutmix=1.0, random_augment=6.0, erase=0.1),
        **dict(crop="resized", area=0.08, ema=0.9998, jitter=0.0),
        spec=dict(stochastic_depth=0.05, zero_last_norm=True),
    ),
    "cifar": dict(
        **dict(model="se_preresnet110_cifar", data="cifar10"),
        **dict(epochs=164, batch_size=128, learning_rate=0.1, reference_batch=128),
        **dict(nesterov=False, schedule="step", milestones=[0.5, 0.75], warmup=0.0),
        **dict(weight_decay=1e-4, label_smoothing=0.0, crop="shift", jitter=0.0),
    ),
    "finetune": dict(
        **dict(weights="imagenet", model="se_resnet50", epochs=15, batch_size=32),
        **dict(learning_rate=0.02, reference_batch=32, layer_decay=0.7, weight_decay=1e-4),
    ),
}
"""Recipes by name: what each sets otherwise than the defaults, which are `quick`.

`paper` is section 5 (batches of 1024, learning rate 0.6, a tenth of it after every 30 of 100
epochs); its images are cropped as GoogLeNet's (8 to 100 % of the area). `cifar` is the setting of
the networks that its tables 4 and 5 compare with (He et al., arXiv 1512.03385, section 4.2: batches
of 128, 0.1, a tenth of it at a half and at three quarters of 64,000 steps). `modern` follows what
timm's best SE networks were trained with, at a learning rate of SGD. `finetune` starts from
published weights with a new classifier.
"""


def read_preset(name: str) -> dict[str, Any]:
    """The fields that a preset sets.

    Raises:
        ValueError: there is no such preset.
    """
    require("preset", name, PRESETS)
    return PRESETS[name]
