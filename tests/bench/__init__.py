"""Measurements, run by hand or by `make bench-memory`; not collected as tests. Figures only, no assertions."""
