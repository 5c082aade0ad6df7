"""Training: the recipe, the loop, the report."""
