"""The HTTP interface. Knows the queue and the images, never the worker or the model."""
