"""An example of every answer and of every JSON body, for the API's description."""

from __future__ import annotations

from typing import Any

_ID = "5f0c7d2b9a8e4c13b6d5e4f3a2b1c0d9"
_BATCH = "77ab31c0d2e34f5a8b9c0d1e2f3a4b5c"
_AT = "2026-01-01T12:00:00Z"
_CURSOR = f"1767268800123:{_ID}".encode().hex()
_RAIN = {"kind": "rain", "probability": 0.93, "severity": 0.61}
_PHOTO_URL = "https://photos.example/old.jpg"

JOB: dict[str, Any] = {
    "id": _ID,
    "state": "running",
    "task": "restore",
    "priority": "interactive",
    "position": None,
    "step": 2,
    "steps_total": 4,
    "progress": 0.5,
    "cancel_requested": False,
    "model": "small",
    "caption": "a dog on a beach",
    "degradations": [_RAIN],
    "input": {"media_type": "image/jpeg", "width": 1024, "height": 768, "bytes": 183042},
    "options": {
        "quality": "best",
        "steps": None,
        "seed": 0,
        "caption": None,
        "format": None,
        "model": None,
        "kinds": None,
        "start_within": None,
        "finish_within": None,
        "photo_metadata": None,
        "output_url": None,
        "quality_factor": None,
    },
    "metadata": {"order": 7351},
    "batch": None,
    "webhook": None,
    "traceparent": None,
    "result_media_type": None,
    "attempt": 1,
    "error": None,
    "timings": {
        "created_at": _AT,
        "started_at": "2026-01-01T12:00:01Z",
        "finished_at": None,
        "expires_at": None,
        "queued_s": 1.0,
        "running_s": None,
    },
    "links": {
        "self": f"/jobs/{_ID}",
        "result": f"/jobs/{_ID}/result",
        "events": f"/jobs/{_ID}/events",
        "cancel": f"/jobs/{_ID}",
        "deliveries": f"/jobs/{_ID}/deliveries",
        "result_presigned": None,
    },
}
_CANCELED = JOB | {"state": "canceled", "cancel_requested": True}
BATCH: dict[str, Any] = {
    "id": _BATCH,
    "state": "running",
    "total": 2,
    "counts": {"waiting": 0, "refused": 1, "queued": 0, "running": 1, "succeeded": 0},
    "progress": 0.5,
    "cancel_requested": False,
    "errors": [
        {
            "index": 1,
            "state": "refused",
            "job": None,
            "error": {"code": "image_fetch_failed", "detail": "photos.example answered with status 404, expected 200."},
            "links": {"job": None},
        }
    ],
    "created_at": _AT,
    "links": {
        "self": f"/batches/{_BATCH}",
        "entries": f"/batches/{_BATCH}/entries",
        "analyses": f"/batches/{_BATCH}/analyses",
        "cancel": f"/batches/{_BATCH}",
    },
}
ANALYSIS: dict[str, Any] = {
    "model": "small",
    "width": 1024,
    "height": 768,
    "caption": "a dog on a beach",
    "degradations": [_RAIN],
    "scores": {"blur": 0.31, "noise": 4.2},
    "suggestion": {"restore": True, "quality": "balanced", "steps": 1},
    "estimated_s": 1.9,
    "estimates": [
        {"quality": "fast", "steps": 1, "seconds": 1.9},
        {"quality": "balanced", "steps": 1, "seconds": 1.9},
        {"quality": "best", "steps": 4, "seconds": 7.6},
    ],
}
_ENTRY = {"index": 0, "state": "succeeded", "job": _ID, "error": None, "links": {"job": f"/jobs/{_ID}"}}
_EVENT = {
    "id": "1767268801456-0",
    "event": "progress",
    "data": '{"at":"2026-01-01T12:00:01.456000Z","step":1,"steps_total":4,"attempt":1}',
}
_DELIVERY = {
    "id": "msg_2b9a8e4c13b6d5e4f3a2b1c0d9",
    "type": "job.succeeded",
    "host": "shop.example",
    "state": "delivered",
    "created_at": _AT,
    "next_try_at": None,
    "attempts": [{"number": 1, "at": _AT, "status": 204, "error": None, "seconds": 0.08}],
}

RESPONSES: dict[str, dict[str, Any]] = {
    "POST /restore": {"202": JOB | {"state": "queued", "step": 0, "progress": 0.0}},
    "POST /analyze": {"200": ANALYSIS, "202": JOB | {"state": "queued", "task": "analyze", "step": 0, "progress": 0.0}},
    "POST /restore/batch": {"202": BATCH},
    "POST /analyze/batch": {"202": BATCH},
    "GET /batches/{batch_id}": {"200": BATCH},
    "DELETE /batches/{batch_id}": {"200": BATCH | {"cancel_requested": True}},
    "GET /batches/{batch_id}/entries": {"200": {"entries": [_ENTRY], "links": {"next": None}}},
    "GET /batches/{batch_id}/analyses": {
        "200": {"entries": [{**_ENTRY, "analysis": ANALYSIS}], "links": {"next": None}},
    },
    "GET /jobs": {
        "200": {
            "jobs": [JOB],
            "next_cursor": _CURSOR,
            "links": {"next": f"/jobs?limit=1&cursor={_CURSOR}"},
        },
    },
    "GET /jobs/{job_id}": {"200": JOB},
    "DELETE /jobs/{job_id}": {"200": _CANCELED},
    "GET /jobs/{job_id}/result": {"200": ANALYSIS},
    "GET /jobs/{job_id}/events": {"200": _EVENT},
    "GET /jobs/{job_id}/deliveries": {"200": {"deliveries": [_DELIVERY]}},
    "GET /models": {"200": {"models": [{"name": "small", "default": True, "workers": 1}]}},
    "GET /healthz": {"200": {"status": "ok"}},
    "GET /readyz": {
        "200": {
            "status": "ready",
            "warnings": [],
            "workers": [{"name": "worker-1", "ready": True, "model": "small", "models": ["small"]}],
        },
    },
    "GET /metrics": {"200": "vlmir_queue_up 1.0\n"},
}
"""Examples by operation and status."""

BODIES: dict[str, Any] = {
    "POST /restore": {"image_url": _PHOTO_URL, "quality": "best", "metadata": {"order": 7351}},
    "POST /analyze": {"image_url": _PHOTO_URL},
    "POST /restore/batch": {
        "options": {"quality": "best"},
        "entries": [_PHOTO_URL, {"image_url": "https://photos.example/2.jpg", "kinds": ["rain"]}],
    },
    "POST /analyze/batch": {"entries": [_PHOTO_URL, "https://photos.example/2.jpg"]},
}
"""Examples of JSON bodies by operation."""

PARAMETERS: dict[str, Any] = {
    "job_id": _ID,
    "batch_id": _BATCH,
    "Prefer": "wait=30",
    "Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
    "last_event_id": "1767268801456-0",
    "Last-Event-ID": "1767268801456-0",
    "state": ["queued", "running"],
    "limit": 20,
    "start": 0,
}
"""Examples of parameters that do not have one where they are declared."""


def add_examples(schema: dict[str, Any]) -> None:
    """Put the examples into a description, which is changed in place."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            for status, example in RESPONSES.get(name, {}).items():
                _add(operation["responses"][status]["content"], example)
            if name in BODIES:
                operation["requestBody"]["content"]["application/json"]["example"] = BODIES[name]
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in PARAMETERS and "example" not in parameter:
                    parameter["example"] = PARAMETERS[parameter["name"]]


def _add(contents: dict[str, Any], example: Any) -> None:
    for media_type, content in contents.items():
        if not media_type.startswith("image/"):
            content["example"] = example
