"""Synthesis, detection and naming of the ten kinds of damage. Import from the modules: none is loaded here."""
