"""Where activations come from: networks, images, extraction and the cache files that hold the results."""
