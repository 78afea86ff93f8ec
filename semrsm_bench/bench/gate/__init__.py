"""The gate: two commits measured side by side, and what got worse in plain words."""
