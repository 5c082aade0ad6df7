import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.switching import SwitchedNetwork
from tests.conftest import randomise

SMALL = dict(
    n_blocks=(1, 2),
    n_filters=(8, 16),
    ratio=4,
    input_shape=(32, 32, 3),
    classes=3,
    classifier_activation=None,
)


def images(count=3, side=32, channels=3):
    return np.random.default_rng(0).normal(size=(count, side, side, channels)).astype("float32")


def sets_of(model):
    """Constants for each block alone, all dropped, and more and more of them together."""
    rng = np.random.default_rng(1)
    blocks = senet.find_se_blocks(model)
    outputs = {op.name: op.output for op in model.operations}
    some = {b.scale: rng.uniform(0, 1, outputs[b.scale].shape[-1]) for b in blocks}
    names = list(some)
    alone = [{name: gate} for name, gate in some.items()]
    dropped = [{name: None} for name in names]
    together = [{name: some[name] for name in names[::-1][:k]} for k in range(len(names) + 1)]
    return [{}, *alone, *dropped, *together, dict.fromkeys(names)]


def shared():
    """Layers outside of the blocks are called twice, once before and once behind a gate."""
    x = keras.Input((8, 8, 4))
    mix = layers.Conv2D(4, 1, name="mix")
    y = layers.Identity(name="one")(mix(x))
    y = layers.Identity(name="two")(mix(layers.ReLU()(y)))
    y = layers.Add()([y, x])
    plain = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))
    return senet.insert(plain, 2, ["one", "two"], init="paper")


NETWORKS = {
    "standard": lambda: senet.create("se_resnet50", **SMALL),
    "pre": lambda: senet.create("se_resnet50", placement="pre", **SMALL),
    "identity": lambda: senet.create("se_resnet50", placement="identity", **SMALL),
    "no squeeze": lambda: senet.create("se_resnet10", squeeze="none", **SMALL),
    "shared": shared,
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_set_of_gates_gives_what_the_whole_network_gives(kind):
    model = NETWORKS[kind]()
    randomise(model)
    ways, x = sets_of(model), images(*((3, 8, 4) if kind == "shared" else (3,)))
    switched = SwitchedNetwork(model)
    found = switched.predict_on_batch(x, ways)
    for gates, outputs in zip(ways, found, strict=True):
        switched.hold(gates)
        expected = switched.model.predict_on_batch(x)
        np.testing.assert_allclose(outputs, expected, atol=1e-5 * np.abs(expected).max())
    expected = model.predict_on_batch(x)
    np.testing.assert_allclose(found[0], expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(found[1] - found[0]).max() > 1e-3 * np.abs(expected).max()


def test_held_gates_are_folded_gates():
    model = senet.create("se_resnet50", **SMALL)
    randomise(model)
    ways, x = sets_of(model), images()
    for gates, outputs in zip(ways, SwitchedNetwork(model).predict_on_batch(x, ways), strict=True):
        folded = senet.fold_gates(model, gates).predict_on_batch(x)
        np.testing.assert_allclose(outputs, folded, atol=1e-5 * np.abs(folded).max())


def test_what_lies_before_the_first_held_gate_is_computed_once():
    model = senet.create("se_resnet50", **SMALL)
    switched = SwitchedNetwork(model)
    called = [0] * len(switched.pieces)
    for number, piece in enumerate(switched.pieces):

        def predict(inputs, number=number, real=piece.model.predict_on_batch):
            called[number] += 1
            return real(inputs)

        piece.model.predict_on_batch = predict
    first, second, third = switched.switches
    ways = [{}, {first: None}, {second: None}, {third: None}, {second: None, third: None}]
    switched.predict_on_batch(images(), ways)
    assert called == [1, 2, 3, 5]


def test_few_states_wait_at_a_time():
    """However many gates there are: the largest set of ways goes on with the state it has."""
    import weakref

    model = senet.create("se_resnet10", **SMALL | dict(n_blocks=(4, 4)))
    switched = SwitchedNetwork(model)
    names, alive, most = list(switched.switches), [], 0
    for piece in switched.pieces:

        def predict(inputs, real=piece.model.predict_on_batch):
            nonlocal most
            outputs = keras.tree.flatten(real(inputs))
            alive.extend(weakref.ref(array) for array in outputs)
            most = max(most, sum(ref() is not None for ref in alive))
            return outputs

        piece.model.predict_on_batch = predict
    ways = [{}, *({name: None} for name in names)]
    switched.predict_on_batch(images(), ways)
    a_state = max(len(piece.later) for piece in switched.pieces)
    assert most <= 4 * a_state + len(ways)  # and an output of each way


def test_only_named_gates_are_held():
    model = senet.create("se_resnet50", **SMALL)
    last = senet.find_se_blocks(model)[-1].scale
    switched = SwitchedNetwork(model, [last])
    assert (list(switched.switches), len(switched.pieces)) == ([last], 2)
    with pytest.raises(senet.InputError, match="no squeeze-and-excitation block 'other'"):
        SwitchedNetwork(model, ["other"])


def test_blocks_that_share_their_excitation_are_held_apart():
    x = keras.Input((8, 8, 4))
    reduce, excite = layers.Dense(2, "relu"), layers.Dense(4, "sigmoid")
    y = x
    for i in range(2):
        z = layers.GlobalAveragePooling2D(keepdims=True)(y)
        y = layers.Multiply(name=f"scale{i}")([y, excite(reduce(z))])
        y = layers.Conv2D(4, 1)(y)
    model = keras.Model(x, layers.Activation("softmax")(y))
    ways, x = sets_of(model), images(3, 8, 4)
    for gates, outputs in zip(ways, SwitchedNetwork(model).predict_on_batch(x, ways), strict=True):
        folded = senet.fold_gates(model, gates).predict_on_batch(x)
        np.testing.assert_allclose(outputs, folded, atol=1e-5 * np.abs(folded).max())
