"""What all rooms share and that knows none of them."""
