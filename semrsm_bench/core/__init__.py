"""What all rooms share and that knows none of them."""

__version__ = "0.1.0"
