"""The worker process: claims jobs, batches their tiles step by step, delivers the results."""
