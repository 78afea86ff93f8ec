"""What all rooms share. It imports none of them."""

__version__ = "0.1.0"
