"""Traces: which one a request and its job belong to, and spans for whoever collects them."""
