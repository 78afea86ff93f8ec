"""The questions: one file each. Cases, truth and score; how they are measured is the engine's business."""
