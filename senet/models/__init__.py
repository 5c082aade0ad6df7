"""What the networks are: blocks, the two learners, the family, and what can be read off a model."""
