"""Images into batches: decode, sources, preprocessing, augmentation, pipeline."""
