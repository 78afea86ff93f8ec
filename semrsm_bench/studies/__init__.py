"""Experiments on the rooms below: each a short script that prints its tables."""
