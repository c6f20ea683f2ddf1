"""Models that were trained elsewhere, under the interface of our own; loaded only when asked for."""
