"""A look at all images before a run, so that its user mends the damaged ones at once."""

import numpy as np

from senet.data.damage import find_damaged
from senet.training import console
from senet.training.parts import Run

LOOKING_SECONDS = 60.0
"""For how long images are looked at before a training."""


def look_for_damage(run: Run) -> None:
    """Look for images of any split that cannot be read, for a minute at most.

    Each process looks at its share of the images. What is not looked at in time is found as it is
    used.

    Raises:
        TooManyBadImages: more images are damaged than the run puts up with.
    """
    team, whole = run.team, run.data.split("all")
    share = np.arange(team.rank, len(whole), team.size)
    damaged, looked = find_damaged(whole.take(share), LOOKING_SECONDS)
    reasons = {int(share[index]): reason for index, reason in damaged.items()}
    found = list(reasons)
    if team.size > 1:
        found = team.union(found)
        looked = int(team.gather(np.array([looked], "int32")).sum())
    run.state.bad_images.note("all", found, reasons)
    run.state.bad_images.check()
    if team.leads:
        console.say_damage(run, looked)
