"""Searches over posteriors: numpy only, no torch."""
