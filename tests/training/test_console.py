import contextlib
import itertools
import time
import types

import numpy as np
import pytest
from PIL import Image

from senet.data.augment import Augmentation
from senet.data.pipeline import count_batches_ahead, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.training import console

PAUSE = 0.02
BATCH = 2


class SlowReader:
    """Images each of which takes a while."""

    def image(self, key):
        time.sleep(PAUSE)
        return Image.new("RGB", (8, 8))


def make_run(steps, *, workers=0):
    """As much of a run as the speed of its loader depends on."""
    n = steps * BATCH
    source = Source(range(n), np.zeros(n, int), SlowReader(), range(n))
    options = dict(batch_size=BATCH, seed=0, n_classes=1, workers=workers)

    def read_batches(*, epoch):
        given = Preprocessing(size=8), Augmentation(crop="centre", jitter=0)
        return training_batches(source, *given, epoch=epoch, **options)

    plan = types.SimpleNamespace(workers=workers)
    state = types.SimpleNamespace(steps_per_epoch=steps)
    return types.SimpleNamespace(plan=plan, state=state, read_batches=read_batches)


@pytest.mark.parametrize(("workers", "hands"), [(0, 2), (1, 1)])
def test_the_rate_of_the_loader_is_not_that_of_batches_that_lie_ready(monkeypatch, workers, hands):
    monkeypatch.setattr(console, "PROBE_SECONDS", 0.2)
    steps = 2 * count_batches_ahead(workers)
    rate = console.measure_loader(make_run(steps, workers=workers))
    assert 0 < rate < 1.3 * hands / PAUSE  # all that so many threads or processes can give
    assert console.measure_loader(make_run(steps - 1, workers=workers)) is None


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_no_more_batches_are_made_ahead_than_are_counted(workers):
    run = make_run(60, workers=workers)
    waited = []
    with contextlib.closing(run.read_batches(epoch=0)) as batches:
        next(batches)
        time.sleep(40 * BATCH * PAUSE)  # enough to make them all
        began = time.monotonic()
        for _ in itertools.islice(batches, 20):
            waited.append(time.monotonic() - began)
            began = time.monotonic()
    ready = next(i for i, lasted in enumerate(waited) if lasted > PAUSE)
    assert 1 <= ready <= count_batches_ahead(workers)
