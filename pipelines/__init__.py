"""Data, augmentation, training and evaluation."""
