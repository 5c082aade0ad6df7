"""Recipes: what a training run does, as one record, from presets, files and flags."""
