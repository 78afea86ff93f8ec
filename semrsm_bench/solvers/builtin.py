"""The modules that register built-in solvers, in the order of the tables."""

MODULES = (
    "exact",
    "norm_order",
    "auction",
    "list_auction",
    "exact_auction",
    "matrix_free",
)
