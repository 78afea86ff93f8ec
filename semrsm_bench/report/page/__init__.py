"""The page of a run and of the studies: one HTML file that needs nothing but a browser."""
