"""Entry point of the `auricle` command (replaced at once by the real one)."""


def main() -> int:
    """Does nothing yet."""
    return 0
