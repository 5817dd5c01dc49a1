"""Training of the three parts: `vlm`, `predictor`, `restorer`. Imported by the command line only."""
