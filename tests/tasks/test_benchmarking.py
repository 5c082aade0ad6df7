import json

import keras
import numpy as np
import pytest

import senet
from senet import machine
from senet.benchmarking import measuring, subjects
from senet.benchmarking.limits import Limits
from senet.deployment.manifest import Manifest
from senet.errors import CapacityError, InputError, NotFoundError
from senet.tasks.benchmarking import BATCH_SIZES, BenchmarkResult
from tests.tasks.test_explaining import make_network

SHORT = dict(repeats=2)


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch):
    """Limits that take no time: others test how they are measured."""
    monkeypatch.setattr(measuring, "LEAST", 0.0)
    monkeypatch.setattr(
        measuring, "measure_limits", lambda precision: Limits(precision, 1e13, 1e11)
    )


def test_training_is_the_step_of_the_loop_on_the_twin(monkeypatch):
    steps = []
    step = subjects.setup.GuardedStep.__call__
    monkeypatch.setattr(
        subjects.setup.GuardedStep,
        "__call__",
        lambda self, batch, rate: steps.append((self, batch)) or step(self, batch, rate),
    )
    result = senet.benchmark("se_resnet20_cifar", "train", batch_size=4, **SHORT)
    assert len(steps) == 1 + measuring.WARM_UP + 2 * result.measurement.steps
    trained, batch = steps[0]
    assert batch.images.shape == (4, 32, 32, 3)
    assert batch.targets.sum(axis=1).tolist() == [1.0] * 4
    assert "call" in vars(trained.model)  # which only a twin has of its own
    assert result.subject.acceleration is True
    assert int(trained.optimizer.iterations) == len(steps)


def test_without_acceleration_the_network_itself_is_trained(monkeypatch):
    made = []
    monkeypatch.setattr(subjects.setup, "accelerate", made.append)
    options = dict(batch_size=2, acceleration=False, **SHORT)
    result = senet.benchmark("se_resnet20_cifar", "train", **options)
    assert made == []
    assert "without the twin" in str(result)


def test_figures_are_medians_of_the_repeats_and_their_spread():
    subject = subjects.Subject("net", "infer", 8, 32, "float32", None, subjects.Work(8e9, 8e8))
    limits = Limits("float32", 1e12, 1e10)
    measured = measuring.Measurement(5.0, (0.1, 0.2, 0.4), 1, 2**30, 0.0, limits)
    result = BenchmarkResult(subject, measured, {"backend": "tensorflow 2", "cores": 2})
    assert result.images_per_second == pytest.approx(8 / 0.2)
    assert result.spread == pytest.approx((8 / 0.4, 8 / 0.1))
    assert result.milliseconds == pytest.approx(200)
    assert result.limit == pytest.approx(8 * 1e12 / 8e9)
    assert result.share == pytest.approx(40 / 1000)
    assert result.memory_share == pytest.approx(8e8 / 1e10 / 0.2)
    values = json.loads(json.dumps(result.to_json()))
    assert values["images_per_second"] == result.images_per_second
    assert values["spread"] == list(result.spread)
    for part in ("40.0 (20.0 to 80.0 in 3 repeats", "200.0 ms", "1.00 GiB", "1000.0 images", "4%"):
        assert part in str(result), part


def test_a_busy_machine_is_said(monkeypatch):
    monkeypatch.setattr(machine.Others, "count_busy_cores", lambda self: 0.8)
    result = senet.benchmark("se_resnet20_cifar", **SHORT)
    assert ["0.8 of" in line for line in result.warnings] == [True]
    assert "warning: Other processes" in repr(result)
    monkeypatch.setattr(machine.Others, "count_busy_cores", lambda self: None)
    assert senet.benchmark("se_resnet20_cifar", **SHORT).warnings == []


def test_a_name_is_a_network_of_the_family_in_the_precision_that_is_asked_for():
    options = dict(batch_size=2, size=48, precision="mixed_bfloat16", variant="torch")
    for mode in ("train", "infer"):
        result = senet.benchmark("se_resnet18", mode, **options, **SHORT)
        subject = result.subject
        assert (subject.size, subject.precision, subject.batch_size) == (48, "mixed_bfloat16", 2)
        assert result.measurement.limits.precision == "bfloat16"
        network = senet.create("se_resnet18", variant="torch", input_shape=(48, 48, 3))
        times = {"train": 6, "infer": 2}[mode]
        assert subject.work.operations == times * 2 * senet.complexity(network).multiply_adds
    assert senet.create("se_resnet20_cifar").dtype_policy.name == "float32"  # as it was before


def test_a_file_is_timed_as_it_predicts_and_trained_as_it_is_built(tmp_path, monkeypatch):
    file = make_network(tmp_path / "net.keras")
    before = file.read_bytes()
    result = senet.benchmark(file, batch_size=3, **SHORT)
    assert (result.subject.size, result.subject.batch_size) == (32, 3)
    with pytest.raises(InputError, match="takes images of 32 pixels, and not of 64"):
        senet.benchmark(file, size=64)
    with pytest.raises(InputError, match="computes in float32: export it"):
        senet.benchmark(file, precision="mixed_bfloat16")
    with pytest.raises(InputError, match="leave variant='torch' out"):
        senet.benchmark(file, variant="torch")
    trained = senet.benchmark(file, "train", batch_size=3, **SHORT)
    cost = senet.complexity(senet.load(file))
    assert trained.subject.work.operations == 3 * 6 * cost.multiply_adds
    assert file.read_bytes() == before


def test_a_file_is_trained_as_the_network_that_it_holds(tmp_path):
    """All fields of its spec, and not only those that have a part in its structure."""
    options = dict(variant="torch", se_at=("stage2",), stem_pool="ceil")
    file = make_network(tmp_path / "net.keras", **options)
    cost = senet.complexity(senet.load(file))
    subject = senet.benchmark(file, "train", batch_size=3, **SHORT).subject
    assert subject.work == subjects.count_work(cost, 3, 4, training=True)
    assert (
        cost.multiply_adds
        != senet.complexity(senet.load(make_network(tmp_path / "seed.keras"))).multiply_adds
    )
    with pytest.raises(InputError, match="leave variant='torch' out"):
        senet.benchmark(file, "train", variant="torch")


def test_a_network_of_open_sides_is_timed_at_the_size_of_its_preprocessing(tmp_path):
    file = make_network(tmp_path / "net.keras", input_shape=(None, None, 3))
    result = senet.benchmark(file, **SHORT)
    assert (result.subject.size, result.share) == (32, None)
    senet.export(file, tmp_path / "exported", "onnx")
    assert json.loads((tmp_path / "exported" / "senet.json").read_text())["cost"] == {}
    assert senet.benchmark(tmp_path / "exported", **SHORT).share is None


def test_logits_in_bfloat16_are_of_that_precision(tmp_path):
    model = senet.create("se_resnet20_cifar", classes=2, classifier_activation=None)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = senet.create("se_resnet20_cifar", classes=2, classifier_activation=None)
    finally:
        keras.config.set_dtype_policy("float32")
    for network, precision in ((model, "float32"), (mixed, "mixed_bfloat16")):
        file = tmp_path / f"{precision}.keras"
        about = dict(class_names=("a", "b"), preprocessing=senet.Preprocessing(32))
        senet.save(network, file, **about)
        result = senet.benchmark(file, **SHORT)
        assert result.subject.precision == precision
        assert f"mixed_{result.measurement.limits.precision}".endswith(precision)


def test_an_exported_network_is_timed_in_its_runtime(tmp_path):
    file, folder = make_network(tmp_path / "net.keras"), tmp_path / "exported"
    senet.export(file, folder, "onnx")
    result = senet.benchmark(folder, batch_size=2, **SHORT)
    assert result.subject.precision == "float32"
    assert result.subject.runtime.startswith("onnxruntime 1")
    cost = senet.complexity(senet.load(file))
    assert result.subject.work.operations == 2 * 2 * cost.multiply_adds
    with pytest.raises(InputError, match="does not run in 'bfloat16'"):
        senet.benchmark(folder, precision="mixed_bfloat16")
    with pytest.raises(InputError, match="exported network"):
        senet.benchmark(folder, "train")
    manifest = json.loads((folder / "senet.json").read_text())
    del manifest["cost"]  # as exports of before have it
    (folder / "senet.json").write_text(json.dumps(manifest))
    older = senet.benchmark(folder, **SHORT)
    assert (older.limit, older.share, older.memory_share) == (None, None, None)
    assert "the network's multiply-adds are not" in str(older)
    manifest["cost"] = dict(multiply_adds=0, activations=1, parameters=1)
    (folder / "senet.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="the cost cannot be"):
        senet.benchmark(folder)


def write_manifest(folder, precision):
    """An exported network for OpenVINO, without the network: nothing here runs it."""
    folder.mkdir()
    cost = dict(multiply_adds=100, activations=10, parameters=10)
    about = dict(class_names=("a", "b"), preprocessing=senet.Preprocessing(32), cost=cost)
    Manifest("net", "openvino", precision, "model.xml", **about).write(folder)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """What networks were to run in. Without OpenVINO: a process in which it had compiled several
    networks died of the first signal that a test of training raised."""
    precisions = []

    class StandIn:
        def __init__(self, folder, *, precision):
            precisions.append(precision)

        def predict_on_batch(self, inputs):
            return inputs

    monkeypatch.setattr(subjects, "Exported", StandIn)
    return precisions


def test_an_exported_network_runs_in_the_precision_that_is_asked_for(tmp_path, opened):
    folder = write_manifest(tmp_path / "exported", "bfloat16")
    assert senet.benchmark(folder, **SHORT).subject.precision == "bfloat16"
    result = senet.benchmark(folder, precision="float32", **SHORT)
    assert (result.subject.precision, result.measurement.limits.precision) == ("float32",) * 2
    assert senet.benchmark(folder, precision="mixed_bfloat16", **SHORT).subject.work.bytes == 60
    assert opened == ["bfloat16", "float32", "bfloat16"]
    assert result.subject.runtime.startswith("openvino 20")


def test_int8_has_no_limit_and_no_other_precision(tmp_path, opened):
    folder = write_manifest(tmp_path / "exported", "int8")
    result = senet.benchmark(folder, **SHORT)
    assert (result.subject.precision, result.share) == ("int8", None)
    assert "no matrix product in int8" in str(result)
    with pytest.raises(InputError, match="is in int8 and stays so"):
        senet.benchmark(folder, precision="float32")
    assert opened == ["int8"]


def test_a_graph_of_pixels_gets_pixels(tmp_path, monkeypatch):
    file, folder = make_network(tmp_path / "net.keras"), tmp_path / "exported"
    senet.export(file, folder, "onnx", pixels=True)
    given = []
    predict = subjects.Exported.predict_on_batch
    monkeypatch.setattr(
        subjects.Exported,
        "predict_on_batch",
        lambda self, inputs: given.append(inputs) or predict(self, inputs),
    )
    senet.benchmark(folder, **SHORT)
    assert 200 < np.max(given[0]) <= 255


def test_a_network_in_memory_predicts_but_is_not_trained():
    model = senet.create("se_resnet20_cifar", classes=3)
    assert senet.benchmark(model, **SHORT).subject.network == "se_resnet20_cifar"
    with pytest.raises(InputError, match="would change it"):
        senet.benchmark(model, "train")
    anything = senet.create("se_resnet20_cifar", input_shape=(None, None, 3))
    with pytest.raises(InputError, match="images of one size"):
        senet.benchmark(anything)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mode="training"), "Unknown mode 'training'. Did you mean 'train'?"),
        (dict(precision="bfloat16"), "Unknown precision 'bfloat16'. Did you mean"),
        (dict(variant="keras"), "Unknown variant 'keras'"),
        (dict(batch_size=0), "batch_size must be a whole number of at least 1"),
        (dict(repeats=0), "repeats must be a whole number of at least 1"),
        (dict(size=8), "size must be a whole number of at least 32"),
        (dict(acceleration=False), "Only training has a twin"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        senet.benchmark("se_resnet20_cifar", **options)


def test_what_is_not_there_is_said():
    for mode in ("train", "infer"):
        with pytest.raises(NotFoundError, match="nothing-here"):
            senet.benchmark("nothing-here", mode)


def test_steps_that_do_not_fit_into_memory_are_refused_before_they_begin(monkeypatch):
    monkeypatch.setattr(machine, "count_memory", lambda: 2**28)
    for mode, batch_size in (("train", 256), ("infer", 4096)):
        with pytest.raises(CapacityError, match=r"0 GiB of memory.*--batch-size") as refused:
            senet.benchmark("se_resnet20_cifar", mode, batch_size=batch_size)
        assert "--accumulate" not in str(refused.value)


def test_one_image_predicts_and_thirty_two_train():
    assert BATCH_SIZES == {"train": 32, "infer": 1}
    assert senet.benchmark("se_resnet20_cifar", **SHORT).subject.batch_size == 1
