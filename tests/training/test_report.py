import numpy as np

from senet import plotting
from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from senet.evaluation import Evaluation
from senet.training import report


def test_predictions_are_drawn_on_their_images_where_others_were_skipped(photos, monkeypatch):
    source = load_data(str(photos)).split("all")
    read = np.array([0, 2, 3])
    evaluation = Evaluation(
        ("circle", "square"),
        tuple(source.names[i] for i in read),
        source.labels[read],
        np.eye(2)[1 - source.labels[read]] * 0.9,  # all wrong
        skipped=(source.names[1],),
    )
    drawn = []
    monkeypatch.setattr(plotting, "grid", lambda pictures, *args, **options: drawn.extend(pictures))
    preprocessing = Preprocessing(16)
    report.draw_predictions(evaluation, source, preprocessing, "unused.png")
    expected = [preprocessing.crop(source.image(int(i))).tobytes() for i in read]
    assert [picture.tobytes() for picture in drawn] == expected
