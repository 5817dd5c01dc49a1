"""Benchmarks of the network, the engine and the service. They print figures; nothing is asserted."""
