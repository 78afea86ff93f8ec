"""The tasks, one file each: cases, truth and score. The engine measures them."""
