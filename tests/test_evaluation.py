import numpy as np
import pytest
from scipy.stats import binomtest

from senet.evaluation import (
    Evaluation,
    PairedDifference,
    compare,
    find_majority,
    wilson_interval,
)


def evaluation_of(probabilities, labels, class_names=None):
    probabilities = np.asarray(probabilities, "float32")
    class_names = class_names or tuple(f"class {i}" for i in range(probabilities.shape[1]))
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return Evaluation(class_names, names, np.asarray(labels), probabilities)


@pytest.fixture
def scored():
    """Three hundred predictions of four classes, of every confidence."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 4)) * rng.uniform(0, 6, (300, 1))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return evaluation_of(probabilities, rng.integers(0, 4, 300))


@pytest.mark.parametrize("bins", [15, 7])
def test_calibration_is_accuracy_and_confidence_in_bins_of_equal_width(scored, bins):
    confidence = scored.probabilities.max(axis=1)
    right = scored.probabilities.argmax(axis=1) == scored.labels
    rows = {round(row["high"] * bins): row for row in scored.calibration(bins)}
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if not inside.any():
            assert m not in rows
            continue
        row = rows.pop(m)
        assert row["low"] == pytest.approx((m - 1) / bins)
        assert row["images"] == inside.sum()
        assert row["accuracy"] == pytest.approx(right[inside].mean())
        assert row["confidence"] == pytest.approx(confidence[inside].mean())
    assert rows == {}


def test_the_calibration_error_is_equation_3_of_guo(scored):
    confidence = scored.probabilities.max(axis=1)
    right = scored.probabilities.argmax(axis=1) == scored.labels
    expected = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 300 * gap
    assert expected > 0.1
    assert scored.calibration_error == pytest.approx(expected)
    assert scored.summary()["calibration_error"] == scored.calibration_error


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it():
    edges = evaluation_of([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], [0, 0]).calibration(4)
    assert [(row["low"], row["high"], row["images"]) for row in edges] == [
        *((0.25, 0.5, 1), (0.75, 1.0, 1)),
    ]


def test_a_network_that_is_as_often_right_as_it_is_sure_has_no_calibration_error():
    probabilities = [[0.75, 0.25]] * 4
    assert evaluation_of(probabilities, [0, 0, 0, 1]).calibration_error == 0
    assert evaluation_of(probabilities, [1, 1, 1, 1]).calibration_error == 0.75


def test_confused_pairs_are_the_largest_off_the_diagonal():
    labels = [0] * 5 + [1] * 4 + [2] * 3
    predictions = [0, 0, 1, 1, 1, 1, 1, 1, 2, 0, 0, 2]
    result = evaluation_of(np.eye(3)[predictions], labels, ("a", "b", "c"))
    pairs = [(p["true"], p["predicted"], p["images"], p["share"]) for p in result.confused_pairs()]
    assert pairs == [("a", "b", 3, 3 / 5), ("c", "a", 2, 2 / 3), ("b", "c", 1, 1 / 4)]
    assert result.confused_pairs(1)[0]["true"] == "a"
    assert len(result.confused_pairs(1)) == 1
    assert evaluation_of(np.eye(3), [0, 1, 2]).confused_pairs() == []


@pytest.mark.parametrize(("right", "images"), [(0, 7), (7, 7), (90, 100), (349, 359)])
def test_the_ends_of_the_wilson_interval_are_196_standard_errors_from_the_score(right, images):
    share = right / images
    ends = wilson_interval(share, images)
    assert 0 <= ends[0] <= share <= ends[1] <= 1
    for end in ends:
        if 0 < end < 1:
            z = abs(share - end) / np.sqrt(end * (1 - end) / images)
            assert z == pytest.approx(1.959964, rel=1e-6)


def test_the_wilson_interval_agrees_with_scipy():
    expected = binomtest(349, 359).proportion_ci(0.95, "wilson")
    assert wilson_interval(349 / 359, 359) == pytest.approx((expected.low, expected.high))


def test_the_baseline_is_the_share_of_the_most_frequent_class():
    result = evaluation_of(np.eye(3)[[0, 0, 0, 0, 2]], [1, 1, 1, 0, 2], ("a", "b", "c"))
    assert result.majority == ("b", 3 / 5)
    summary = result.summary()
    assert (summary["baseline"], summary["majority_class"]) == (3 / 5, "b")
    assert find_majority(np.array([2, 2, 0]), ("a", "b", "c")) == ("c", 2 / 3)


def test_classes_without_images_have_no_recall_and_those_of_recall_0_are_warned_of():
    result = evaluation_of(np.eye(4)[[0, 0, 0, 3, 3]], [0, 0, 1, 1, 3], ("a", "b", "c", "d"))
    rows = {row["name"]: row for row in result.per_class}
    assert rows["c"] == dict(name="c", images=0, precision=None, recall=None, f1=None)
    assert (rows["a"]["recall"], rows["b"]["recall"], rows["d"]["precision"]) == (1, 0, 1 / 2)
    assert (result.absent, result.unrecognised) == (["c"], ["b"])
    assert result.warnings == ["No image of b is recognised (recall 0)."]
    assert evaluation_of(np.eye(2), [0, 1]).warnings == []


def test_images_that_were_trained_on_are_set_apart_by_name(scored):
    names = set(scored.names[:100]) | {"another.png"}
    rest = scored.set_apart(names)
    right = scored.predictions == scored.labels
    assert rest.names == scored.names[100:]
    assert rest.top1 == pytest.approx(right[100:].mean())
    assert rest.trained_on.top1 == pytest.approx(right[:100].mean())
    summary = rest.summary()
    assert (summary["images"], summary["trained_on"]) == (200, 100)
    assert summary["top1_with_trained_on"] == pytest.approx(right.mean())
    assert scored.summary()["trained_on"] is None
    none = scored.set_apart(()).summary()
    assert (none["images"], none["trained_on"]) == (300, 0)
    assert "top1_with_trained_on" not in none


def paired(won, lost, both, neither):
    return PairedDifference(won=won, lost=lost, both=both, neither=neither)


def test_evaluations_of_the_same_images_are_compared_image_by_image():
    labels = np.array([0, 0, 1, 1, 1])
    first, second = (
        Evaluation(("a", "b"), tuple("vwxyz"), labels, np.eye(2)[np.array(predicted)])
        for predicted in ([0, 1, 1, 0, 0], [1, 0, 1, 1, 0])
    )
    found = compare(first, second)
    assert found == paired(won=2, lost=1, both=1, neither=1)
    assert found.points == pytest.approx(100 * (second.top1 - first.top1))
    assert compare(second, first).points == -found.points
    with pytest.raises(ValueError, match="the same images in the same order"):
        compare(first, Evaluation(("a", "b"), tuple("vwxya"), labels, np.eye(2)[labels]))


def test_the_interval_of_a_paired_difference_holds_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    for shares in ((0.03, 0.06, 0.85, 0.06), (0.10, 0.02, 0.60, 0.28), (0.10, 0.15, 0.15, 0.60)):
        truth = 100 * (shares[0] - shares[1])
        held = 0
        for counts in rng.multinomial(300, shares, 2000):
            low, high = paired(*map(int, counts)).interval
            held += low <= truth <= high
        assert 0.93 < held / 2000 < 0.995


def test_the_interval_of_a_paired_difference_is_as_wide_as_the_images_are_few():
    few, many = (paired(0, 0, 95 * n, 5 * n).interval for n in (1, 100))
    assert few[0] < many[0] < 0 < many[1] < few[1]
    low, high = paired(3, 9, 80, 8).interval
    assert (-high, -low) == pytest.approx(paired(9, 3, 80, 8).interval)
    ends = paired(0, 50, 0, 0).interval  # from all right to all wrong
    assert ends[0] == pytest.approx(-100)
    assert -100 < ends[1] < -85


def test_the_interval_of_a_paired_difference_is_that_of_newcombe():
    """His method 10, with the correlation corrected for continuity."""
    low, high = binomtest(95, 100).proportion_ci(0.95, "wilson")
    below, above = 0.95 - low, high - 0.95
    phi = (95 * 5 - 100 / 2) / (95 * 5)
    half = 100 * np.sqrt(below**2 - 2 * phi * below * above + above**2)
    assert paired(0, 0, 95, 5).interval == pytest.approx((-half, half))
    phi = -9 * 3 / np.sqrt(9 * 3 * 9 * 3)  # below 0 there is no correction
    low, high = binomtest(9, 12).proportion_ci(0.95, "wilson")
    below = 100 * np.sqrt((0.75 - low) ** 2 * (2 - 2 * phi))
    assert paired(9, 3, 0, 0).interval[0] == pytest.approx(50 - below)


def test_mcnemar_is_the_binomial_test_of_the_images_that_changed():
    assert paired(2, 10, 80, 8).p_value == pytest.approx(2 * sum((1, 12, 66)) / 2**12)
    assert paired(0, 0, 10, 0).p_value == 1.0
    assert str(paired(2, 10, 80, 8)).startswith(
        "Right now 2 that were not, wrong now 10 that were right: -8.00 points, 95 % from -1"
    )
