"""Training: `run.py` tells a run from its recipe to its report; the other files are its parts."""
