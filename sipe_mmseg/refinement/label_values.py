"""What the numbers in a label map mean, beyond the classes."""

IGNORE_INDEX = 255
"""Value of a pixel whose class is not known: left out of losses and scores."""
