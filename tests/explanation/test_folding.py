import dataclasses

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import senet
from senet.data.sources import Data, load_data
from senet.evaluation import evaluate
from senet.explanation.folding import (
    Cost,
    Score,
    Worth,
    cheapest_first,
    choose_blocks,
    describe_folding,
    measure_folding,
)
from senet.models.folding import with_constant_gates
from senet.tasks.folding import FoldingResult
from tests.conftest import randomise
from tests.explanation.test_page import small_case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return small_case(tmp_path_factory.mktemp("folding"))


def test_images_that_cannot_be_read_are_named(tmp_path):
    model, data, preprocessing = small_case(tmp_path)
    for name, index in (("train", 1), ("validation", 0), ("test", 0)):
        (tmp_path / "photos" / data.split(name).names[index]).write_bytes(b"no image")
    result = measure_folding(model, data, preprocessing, max_drop=100)
    training, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    first, second, third, *_ = result.warnings
    assert first == (
        f"1 of {len(training)} train images cannot be read and do not count: {training.names[1]}."
    )
    assert second.startswith(f"1 of {len(validation)} validation images")
    assert third.startswith(f"1 of {len(test)} images cannot be read and do not count: ")
    assert result.images == len(validation) - 1
    assert result.paired.images == len(test) - 1


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_none_of_which_can_be_read_are_refused(tmp_path, split):
    model, data, preprocessing = small_case(tmp_path)
    for name in data.split(split).names:
        (tmp_path / "photos" / name).write_bytes(b"no image")
    word = "training" if split == "train" else split
    with pytest.raises(senet.InputError, match=f"None of the {word} images can be read"):
        measure_folding(model, data, preprocessing)


def test_every_score_is_that_of_the_folded_network_evaluated(case):
    model, data, preprocessing = case
    result = measure_folding(model, data, preprocessing, max_drop=100, batch_size=3)
    training = data.split("train")
    inputs = np.stack([preprocessing(training.image(i)) for i in range(len(training))])
    means = {name: gates.mean(axis=0) for name, gates in senet.gates(model, inputs).items()}

    def check(score, cost, gates):
        smaller = with_constant_gates(model, gates)
        found = evaluate(smaller, data.split("validation"), preprocessing, data.class_names)
        assert score.top1 == found.top1
        assert score.loss == pytest.approx(found.loss, rel=1e-4)
        counted = senet.complexity(smaller)
        assert cost.parameters == counted.parameters
        assert cost.multiply_adds == counted.multiply_adds
        assert cost.milliseconds > 0

    for worth in result.worth:
        check(worth.mean, worth.cost, {worth.block: means[worth.block]})
        check(worth.dropped, worth.cost, {worth.block: None})
        assert worth.refusal is None
        better = min((worth.mean, worth.dropped), key=lambda score: (-score.top1, score.loss))
        assert worth.best == better
        assert worth.is_dropped == (better == worth.dropped != worth.mean)
    cheapest = sorted(result.worth, key=lambda w: (-w.best.top1, w.best.loss))
    assert [step.block for step in result.steps] == [None, *(w.block for w in cheapest)]
    gates = {}
    check(result.steps[0].score, result.steps[0].cost, gates)
    for step, worth in zip(result.steps[1:], cheapest, strict=True):
        gates[step.block] = None if worth.is_dropped else means[step.block]
        check(step.score, step.cost, gates)
    assert list(result.gates) == list(gates)
    for name, gate in result.gates.items():
        assert (gate is None) == (gates[name] is None)
        if gate is not None:
            np.testing.assert_allclose(gate, gates[name], rtol=1e-5, atol=1e-6)
    assert result.difference < 1e-5
    test = data.split("test"), preprocessing, data.class_names
    assert evaluate(model, *test).top1 == result.before.top1
    after = evaluate(with_constant_gates(model, gates), *test)
    np.testing.assert_allclose(after.probabilities, result.after.probabilities, atol=1e-6)
    lines = list(describe_folding(result))
    assert sum(line.startswith("+ ") for line in lines) == 3
    assert lines[0] == f"Top-1 and loss on {result.images} validation images"
    assert "3 of 3 gates folded" in lines[-1]
    assert str(result.paired) in lines[-1]
    sure = (
        0.9 * result.before.probabilities
        + 0.1 * np.eye(len(data.class_names))[result.before.labels]
    )
    another = dataclasses.replace(result.before, probabilities=sure)
    *_, line = describe_folding(dataclasses.replace(result, before=another))
    assert f"loss {another.loss:.4f} before, {result.after.loss:.4f} after" in line
    assert f"{another.loss:.4f}" != f"{result.after.loss:.4f}"


@pytest.mark.parametrize(
    ("mean", "dropped", "refusal", "is_dropped"),
    [
        (Score(0.9, 0.5), Score(0.8, 0.1), None, False),  # top-1 counts
        (Score(0.8, 0.1), Score(0.9, 0.5), None, True),
        (Score(0.9, 0.5), Score(0.9, 0.4), None, True),  # of equal ones the loss
        (Score(0.9, 0.5), Score(0.9, 0.5), None, False),
        (Score(0.9, 0.5), Score(0.8, 0.6), "nothing takes it in", True),
    ],
)
def test_a_gate_goes_in_the_better_way_or_the_only_one(mean, dropped, refusal, is_dropped):
    worth = Worth("block", mean, dropped, Cost(1, 1, 1.0), refusal)
    assert worth.is_dropped == is_dropped
    assert worth.best == (dropped if is_dropped else mean)


def test_the_cheapest_gate_in_its_better_way_goes_first():
    cost = Cost(1, 1, 1.0)
    good, fair, bad = Score(0.9, 0.1), Score(0.8, 0.1), Score(0.5, 0.1)
    worth = [
        Worth("fair", fair, bad, cost),
        Worth("only dropped", good, bad, cost, "nothing takes it in"),
        Worth("good when dropped", bad, good, cost),
    ]
    assert [w.block for w in cheapest_first(worth)] == ["good when dropped", "fair", "only dropped"]


def test_no_more_is_folded_than_may_be_lost(case):
    result = measure_folding(*case, max_drop=0)
    before = result.steps[0].score.top1
    within = [k for k, step in enumerate(result.steps) if step.score.top1 >= before]
    assert len(result.gates) == max(within)
    assert result.to_json()["test"]["confirmed"] == (result.drop <= 0)


def test_gates_that_nothing_takes_in_are_dropped(tmp_path):
    _, data, preprocessing = small_case(tmp_path)
    fields = dict(n_blocks=(1, 2), n_filters=(8, 16), ratio=4, input_shape=(32, 32, 3))
    model = senet.create("se_resnet50", placement="identity", classes=2, **fields)
    randomise(model)
    result = measure_folding(model, data, preprocessing, max_drop=100)
    reasons = {worth.block: worth.refusal for worth in result.worth}
    assert [name for name, reason in reasons.items() if reason] == ["stage2_block2_se_scale"]
    assert result.gates["stage2_block2_se_scale"] is None
    cheapest = sorted(result.worth, key=lambda w: (-w.best.top1, w.best.loss))
    assert list(result.gates) == [worth.block for worth in cheapest]
    assert result.to_json()["folded"]["stage2_block2_se_scale"] == "dropped"
    text = "\n".join(describe_folding(result))
    assert "* can only be dropped. The gate of 'stage2_block2_se_scale' cannot become" in text
    assert len(senet.find_se_blocks(senet.fold_gates(model, result.gates))) == 0


def test_a_network_of_any_size_is_counted_and_timed_at_the_size_of_its_images(tmp_path):
    _, data, preprocessing = small_case(tmp_path)
    fields = dict(n_blocks=(1, 1), n_filters=(8, 16), ratio=4, classes=2)
    model = senet.create("se_resnet10", input_shape=(None, None, 3), **fields)
    result = measure_folding(model, data, preprocessing, max_drop=100)
    fixed = senet.complexity(senet.create("se_resnet10", input_shape=(32, 32, 3), **fields))
    assert result.costs[0].multiply_adds == fixed.multiply_adds
    assert result.costs[1].multiply_adds < fixed.multiply_adds


def test_an_output_in_a_list_is_an_output_and_several_are_refused(tmp_path):
    model, data, preprocessing = small_case(tmp_path)
    listed = keras.Model([model.inputs[0]], [model.outputs[0]])
    one, two = (
        measure_folding(network, data, preprocessing, max_drop=100) for network in (model, listed)
    )
    assert [step.score.top1 for step in one.steps] == [step.score.top1 for step in two.steps]
    several = keras.Model(model.input, [model.output, model.layers[-2].output])
    with pytest.raises(senet.InputError, match=r"one input and one output .* it has 1 and 2"):
        measure_folding(several, data, preprocessing)


def test_what_cannot_be_counted_is_said_and_left_out_of_the_picture(tmp_path):
    _, data, preprocessing = small_case(tmp_path)
    x = keras.Input((32, 32, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    y = layers.Conv2D(4, 1, name="maps")(twice(twice(x)))
    y = layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(y))
    model = senet.insert(keras.Model(x, y), 2, "maps", init="paper")
    result = measure_folding(model, data, preprocessing, max_drop=100)
    assert [step.cost.multiply_adds for step in result.steps] == [None, None]
    lines = list(describe_folding(result))
    assert "Multiply-adds are not counted, because a layer is called several times." in lines
    FoldingResult(model, result, dict(warnings=[])).draw(tmp_path / "tradeoff.png")
    assert (tmp_path / "tradeoff.png").stat().st_size > 5000


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_folded_network_that_differs_by_more_than_rounding_is_told(tmp_path, monkeypatch, policy):
    _, data, preprocessing = small_case(tmp_path)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        fields = dict(n_blocks=(1, 1), n_filters=(8, 16), ratio=4, classes=2)
        model = senet.create("se_resnet10", input_shape=(32, 32, 3), **fields)
    finally:
        keras.config.set_dtype_policy(before)
    monkeypatch.setattr("senet.explanation.folding._difference", lambda *given: 0.5)
    found = measure_folding(model, data, preprocessing, max_drop=100)
    told = [line for line in found.warnings if "differ by up to 5.0e-01" in line]
    assert len(told) == (policy == "float32")


def test_a_network_whose_call_is_its_own_is_refused(case):
    model, data, preprocessing = case

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(senet.InputError, match="Own has a call of its own"):
        measure_folding(Own(model.input, model.output), data, preprocessing)


def test_gates_of_models_inside_stay_and_are_named(tmp_path):
    _, data, preprocessing = small_case(tmp_path)
    x = keras.Input((32, 32, 3))
    maps = layers.Conv2D(4, 3, strides=4, name="conv")
    backbone = senet.insert(keras.Model(x, layers.ReLU()(maps(x))), 2, "conv", init="paper")
    backbone = keras.Model(backbone.input, backbone.output, name="backbone")
    y = layers.Conv2D(4, 1, name="head")(backbone(x))
    y = layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(y))
    model = senet.insert(keras.Model(x, y), 2, "head", init="paper")
    result = measure_folding(model, data, preprocessing, max_drop=100)
    assert list(result.gates) == ["head_se_scale"]
    assert "Gates of models inside the network stay: backbone/conv_se_scale." in result.warnings
    with pytest.raises(senet.InputError, match="a model inside"):
        choose_blocks(model, ["backbone/*"])


def test_few_images_are_said_to_allow_no_loss(case):
    *_, last = describe_folding(measure_folding(*case, max_drop=0.1))
    count = len(case[1].split("validation"))
    assert last.endswith(f" (One validation image is {100 / count:.2f} points.)")


def make_deciding(folder):
    """A network that tells dark from bright images by its only gate, and such images."""
    rng = np.random.default_rng(0)
    for name, value in (("bright", 220), ("dark", 20)):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(value, value + 20, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(2, 1, name="maps")(x)  # brightness, and 1
    z = layers.GlobalAveragePooling2D(keepdims=True)(y)
    z = layers.Dense(1, "relu", name="reduce")(z)
    s = layers.Dense(2, "sigmoid", name="excite")(z)  # the second is open for dark images
    y = layers.GlobalAveragePooling2D()(layers.Multiply(name="scale")([y, s]))
    model = keras.Model(x, layers.Dense(2, "softmax", name="classifier")(y))
    for name, kernel, bias in (
        ("maps", [[1 / 3, 0]] * 3, [0, 1]),
        ("reduce", [[1], [0]], [0]),
        ("excite", [[0, -40]], [0, 20]),
        ("classifier", [[0, 0], [-20, 20]], [10, -10]),
    ):
        layer = model.get_layer(name)
        layer.set_weights([np.reshape(kernel, layer.kernel.shape), np.array(bias)])
    return model, load_data(str(folder)), senet.Preprocessing.of_values("0-1", 32)


def test_where_every_gate_matters_the_network_stays_and_the_cheapest_is_named(tmp_path):
    case = make_deciding(tmp_path / "photos")
    result = measure_folding(*case, max_drop=49.5)
    assert result.before.top1 == 1.0
    assert (result.gates, result.drop) == ({}, 0.0)
    assert result.after is result.before
    *_, last = describe_folding(result)
    assert last == (
        f"No gate can go: 49.5 points of top-1 may be lost on {result.images} validation images, "
        "and every step above loses more; the first, without scale, 50. The network stays as it is."
    )
    assert result.to_json()["folded"] == {}
    assert list(measure_folding(*case, max_drop=50).gates) == ["scale"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], [0, 1, 2]),
        (["stage2_*"], [1, 2]),
        (["stage2_block2", "stage1_block1_se_scale"], [0, 2]),
    ],
)
def test_blocks_are_named_or_fit_a_pattern(case, wanted, found):
    model, data, preprocessing = case
    names = [block.scale for block in senet.find_se_blocks(model)]
    assert choose_blocks(model, wanted) == [names[i] for i in found]
    if wanted:
        result = measure_folding(model, data, preprocessing, blocks=wanted, max_drop=100)
        assert [worth.block for worth in result.worth] == [names[i] for i in found]
        assert set(result.gates) == {names[i] for i in found}


def test_blocks_that_are_not_there_are_refused(case):
    message = "No block is called stage3, x_\\*; the blocks of 'se_resnet10' are stage1_block1, "
    with pytest.raises(senet.InputError, match=message):
        measure_folding(*case, blocks=["stage3", "stage1_*", "x_*"])


def test_data_without_a_split_to_choose_by_is_refused(case):
    model, data, preprocessing = case
    less = Data(data.class_names, {"train": data.split("train"), "test": data.split("test")})
    with pytest.raises(ValueError, match="there is no split validation"):
        measure_folding(model, less, preprocessing)
