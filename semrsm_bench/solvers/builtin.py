"""Imports every module that registers built-in solvers; their order is the order of the tables."""
