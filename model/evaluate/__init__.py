"""Figures of a trained model on photos with a known clean version. Imported by the command line only."""
