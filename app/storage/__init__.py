"""Where photos are kept outside Redis: the service's own place and the callers' buckets. Knows no jobs and no HTTP."""
