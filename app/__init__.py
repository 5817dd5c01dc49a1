"""The service: HTTP API, job queue, worker and command line around the model.

Bytes and uint8 pictures live here; tensors only in `app.worker.runner`.
"""
