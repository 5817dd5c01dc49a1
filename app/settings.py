"""All settings of the service: the only reader of environment variables.

Every field can be set by the environment variable `VLMIR_` plus its name in upper case. Composition roots build one
`Settings` object and pass it (or parts of it) down; nothing else reads the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.access.origins import parse_origins
from app.errors import UnusableRedisError
from app.fetch.addresses import parse_networks
from app.jobs.address import parse_address
from app.models import ServedModel, parse_model, parse_models
from app.redaction import secrets_of
from app.storage.urls import AllowedPrefixes, parse_storage
from app.webhooks.policy import parse_schedule
from app.webhooks.signing import WebhookSecrets

MIB = 1024 * 1024
ENV_PREFIX = "VLMIR_"


def default_state_dir() -> Path:
    """Give the user's state folder for this service, by the XDG rules."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG rules say to ignore a relative path.
    if base and Path(base).is_absolute():
        return Path(base) / "vlmir"
    try:
        return Path.home() / ".local" / "state" / "vlmir"
    except RuntimeError:  # a user of a container without a name and without HOME
        return Path("/var/lib/vlmir")


def default_otlp_endpoint() -> str:
    """Give the collector that OpenTelemetry's own variable names."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


class Settings(BaseSettings):
    """Settings of API, worker and command line, read from `VLMIR_*` variables."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # secrets are among them
    )

    redis_url: str | None = Field(
        default=None,
        repr=False,  # it may have a password in it
        description=(
            "URL of the Redis server (redis://, rediss:// or unix://), of Sentinels "
            "(redis+sentinel://host1,host2/master) or of a cluster (redis+cluster://host1,host2); empty starts an "
            "embedded server."
        ),
    )
    namespace: str = Field(
        default="",
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Put before all key names, so that several services can share one Redis.",
    )
    storage: str = Field(
        default="redis",
        description=(
            "Where photos are kept: redis, file:///folder, s3://bucket/prefix, gs://bucket/prefix or "
            "az://container/prefix. The same for API and workers."
        ),
    )
    input_prefixes: str = Field(
        default="",
        description=(
            "Buckets that callers may name photos in, comma-separated, such as s3://photos/in/ or "
            "s3://photos/{tenant}/; empty for none."
        ),
    )
    output_prefixes: str = Field(
        default="", description="Buckets that callers may have results written to, likewise. The same for workers."
    )
    presign_s: int = Field(
        default=900,
        ge=0,
        le=7 * 24 * 3600,
        description="Seconds for which signed links to results are good, where the store signs; 0 gives none.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which the API listens.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port on which the API listens; 0 takes a free one.")
    open_access: bool | None = Field(
        default=None,
        description=(
            "Whether the API takes requests without a key: true, false, or empty for only where it listens on a "
            "loopback address."
        ),
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of the worker's Prometheus metrics, `/healthz` and `/readyz`; 0 turns them off.",
    )
    model: str = Field(
        default="small",
        min_length=1,
        description="Name of a shipped model, or a folder with one; for a service with one model.",
    )
    models: str = Field(
        default="",
        description=(
            "Models that jobs may name, comma-separated: shipped names, folders, or NAME=FOLDER. The first is for jobs "
            "that name none. Empty: the one of VLMIR_MODEL. The same for API and workers."
        ),
    )
    device: str = Field(
        default="auto",
        min_length=1,
        description=(
            'Device of a worker: "cpu", "cuda", "cuda:1", "mps" or "auto" (CUDA if it is there, else the CPU). For '
            "`vlmir serve` also several, comma-separated: its workers take them in turn."
        ),
    )
    workers: int = Field(
        default=0, ge=0, le=64, description="Workers that `vlmir serve` starts; 0 starts one for each device named."
    )
    device_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description=("Workers that share the memory of one GPU; 0: all of VLMIR_WORKERS. `vlmir serve` tells its own."),
    )
    threads: int = Field(
        default=0, ge=0, description="CPU threads of torch in one worker; 0 uses all cores, shared among the workers."
    )
    worker_concurrency: int = Field(default=8, ge=1, le=1024, description="Jobs that one worker holds at a time.")
    batch_tiles: int = Field(
        default=0,
        ge=0,
        le=1024,
        description=(
            "Most image tiles in one network forward, rounded down to a power of two; 0 sets no limit but the "
            "device's: 8 on a CPU, 64 on CUDA. The worker measures at its start how many of them pay."
        ),
    )
    preview_every: int = Field(
        default=1, ge=0, le=100, description="Steps from one preview for listeners to the next; 0 makes none."
    )
    preview_px: int = Field(default=256, ge=16, le=1024, description="Longest side of previews in pixels.")
    lease_s: float = Field(
        default=30.0, ge=1.0, le=3600.0, description="Seconds without a sign of life after which a job changes worker."
    )
    max_deliveries: int = Field(
        default=3, ge=1, le=100, description="Workers that may take a job before it counts as failed."
    )
    dead_ttl_s: int = Field(
        default=24 * 3600,
        ge=0,
        description=(
            "Seconds for which the photo of a job that failed on every delivery is kept for `vlmir dead retry`; 0 "
            "deletes it at once."
        ),
    )
    grace_s: float = Field(
        default=25.0, ge=0.0, le=3600.0, description="Seconds for running jobs to finish after a request to stop."
    )
    result_ttl_s: int = Field(default=3600, ge=1, description="Seconds for which a result can be fetched.")
    record_ttl_s: int = Field(
        default=24 * 3600,
        ge=1,
        description="Seconds for which the record of a job outlives its result, or its end if it has none.",
    )
    batch_ttl_s: int = Field(
        default=7 * 24 * 3600,
        ge=1,
        description=(
            "Seconds for which a batch is kept, and photos of it that are no jobs yet; VLMIR_IDEMPOTENCY_TTL_S if that "
            "is longer."
        ),
    )
    cors_origins: str = Field(
        default="",
        description=(
            "Origins whose web pages may call the API, comma-separated, such as https://photos.example; * for all, "
            "empty for none."
        ),
    )
    rate_per_s: float = Field(
        default=0.0,
        ge=0.0,
        le=1e6,
        description="POST requests of a tenant per second in the long run; 0 for any number.",
    )
    rate_burst: int = Field(default=10, ge=1, le=10**6, description="POST requests of a tenant that may come at once.")
    daily_jobs: int = Field(default=0, ge=0, description="Jobs of a tenant per day (UTC); 0 for any number.")
    daily_megapixels: float = Field(
        default=0.0, ge=0.0, le=1e12, description="Megapixels of a tenant's photos per day (UTC); 0 for any number."
    )
    max_queued: int = Field(default=1000, ge=1, description="Waiting jobs above which new ones are refused.")
    max_upload_bytes: int = Field(default=64 * MIB, ge=1, description="Largest upload in bytes.")
    upload_memory_bytes: int = Field(
        default=512 * MIB, ge=1, description="Most bytes of uploads that one API process reads at a time."
    )
    upload_timeout_s: float = Field(
        default=300.0,
        gt=0.0,
        le=7200.0,
        description="Longest time in seconds in which the body of a request must come.",
    )
    fetch_http: bool = Field(
        default=False, description="Whether photos are fetched from http:// URLs too, and not from https:// alone."
    )
    fetch_networks: str = Field(
        default="",
        description=(
            "Private networks that photos may be fetched from, comma-separated, such as 10.20.0.0/16; empty for none."
        ),
    )
    fetch_timeout_s: float = Field(
        default=30.0, gt=0.0, le=600.0, description="Longest time in seconds for fetching one photo by its URL."
    )
    fetches_at_once: int = Field(
        default=8, ge=1, le=256, description="Photos that one API process fetches by URL at a time."
    )
    batch_ahead: int = Field(
        default=64, ge=1, description="Jobs of batches that wait in the queue at a time; the rest of a batch follows."
    )
    max_batch_entries: int = Field(default=1000, ge=1, le=1000, description="Most photos of one batch.")
    max_waiting_entries: int = Field(
        default=100_000,
        ge=1,
        description="Photos of batches that wait to become jobs above which new batches are refused.",
    )
    idempotency_ttl_s: int = Field(
        default=24 * 3600, ge=1, description="Seconds for which an Idempotency-Key is remembered."
    )
    max_megapixels: float = Field(default=50.0, gt=0.0, description="Largest photo in millions of pixels.")
    max_side_px: int = Field(default=20000, ge=1, description="Longest side of a photo in pixels.")
    max_aspect_ratio: float = Field(
        default=200.0, ge=1.0, description="Most times that the longer side of a photo may be the shorter one."
    )
    max_frames: int = Field(
        default=100,
        ge=1,
        description=(
            "Most pictures in a file of which only the main one counts (HEIC, MPO); animations are refused in any case."
        ),
    )
    max_wait_s: float = Field(
        default=60.0, ge=0.0, le=3600.0, description="Longest time in seconds for which a request waits for its result."
    )
    max_event_streams: int = Field(
        default=500, ge=1, description="Most streams of events that one API process keeps open at a time."
    )
    event_ping_s: float = Field(
        default=15.0,
        ge=0.1,
        le=300.0,
        description="Seconds of silence after which a stream of events sends a sign of life.",
    )
    webhook_secrets: str = Field(
        default="",
        repr=False,
        description=(
            "Secrets that webhooks are signed with, comma-separated, the newest first: whsec_ and base64, or "
            "TENANT=whsec_... for one tenant alone. Empty: they are not signed."
        ),
    )
    webhook_schedule_s: str = Field(
        default="5,30,300,1800,7200,18000,36000",
        description="Pauses in seconds after the first, second, ... failure to send a webhook, comma-separated.",
    )
    webhook_timeout_s: float = Field(
        default=15.0, ge=1.0, le=60.0, description="Longest time in seconds for one try to send a webhook."
    )
    webhooks_at_once: int = Field(
        default=16, ge=0, le=256, description="Webhooks that one API process sends at a time; 0 sends none from it."
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Address under which callers reach the API; put before the links in webhooks. Empty: paths alone.",
    )
    state_dir: Path = Field(
        default_factory=default_state_dir, description="Folder of the embedded Redis server's data and socket."
    )
    otlp_endpoint: str = Field(
        default_factory=default_otlp_endpoint,
        repr=False,  # likewise
        description=(
            "Collector of OpenTelemetry that gets spans by OTLP over HTTP, such as http://collector:4318 [default: "
            "OTEL_EXPORTER_OTLP_ENDPOINT]; empty for none. Needs `vlmir[otel]`."
        ),
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log records that are written."
    )
    log_json: bool = Field(default=False, description="Write log records as JSON lines instead of plain text.")

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_address(value)
            except UnusableRedisError as error:
                raise ValueError(error.detail) from None
        return value

    @field_validator("model")
    @classmethod
    def _check_model(cls, value: str) -> str:
        parse_model(value)
        return value

    @field_validator("models")
    @classmethod
    def _check_models(cls, value: str) -> str:
        parse_models(value)
        return value

    @field_validator("webhook_secrets")
    @classmethod
    def _check_webhook_secrets(cls, value: str) -> str:
        WebhookSecrets.parse(value)
        return value

    @field_validator("webhook_schedule_s")
    @classmethod
    def _check_webhook_schedule(cls, value: str) -> str:
        parse_schedule(value)
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        parse_origins(value)
        return value

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, value: str) -> str:
        parse_storage(value)
        return value

    @field_validator("input_prefixes", "output_prefixes")
    @classmethod
    def _check_prefixes(cls, value: str, info: ValidationInfo) -> str:
        prefixes = AllowedPrefixes.parse(value)
        if "storage" in info.data and prefixes.meets(parse_storage(info.data["storage"])):
            raise ValueError("callers could reach the photos of the service itself (VLMIR_STORAGE); use other prefixes")
        return value

    @property
    def served_models(self) -> tuple[ServedModel, ...]:
        """The models of the service, at least one; the first is for jobs that name none."""
        return parse_models(self.models) or (parse_model(self.model),)

    @property
    def worker_devices(self) -> tuple[str, ...]:
        """Device of each worker that `vlmir serve` starts, at least one."""
        named = tuple(name.strip() for name in self.device.split(",") if name.strip()) or ("auto",)
        return tuple(named[number % len(named)] for number in range(self.workers or len(named)))

    def secrets(self) -> set[str]:
        """Give the values that nobody must see, those of the environment that stores of photos read among them."""
        return secrets_of(self, os.environ)

    def environment(self, redis_url: str | None = None) -> dict[str, str]:
        """Give the environment of a child process that is to have these settings.

        Args:
            redis_url: Address of the queue; None keeps that of these settings.
        """
        given = self.model_dump(mode="json", exclude_none=True)
        if redis_url is not None:
            given["redis_url"] = redis_url
        return os.environ | {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in given.items()}
