"""Laws of the stored form of a job."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.jobs.codec import decode_findings, decode_job, encode_findings, encode_job
from app.jobs.job import KINDS, PRIORITIES, Finding, Job, JobState, RestoreOptions, parse_kinds
from app.jobs.webhook import WEBHOOK_EVENTS, Webhook

# Redis hashes hold any bytes, but lone surrogates are no text that a client could have sent.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
count = st.integers(0, 2**53)
unit = st.floats(0.0, 1.0)
findings = st.lists(st.builds(Finding, text, unit, unit), max_size=4).map(tuple)
options = st.builds(
    RestoreOptions,
    text,
    st.none() | st.integers(1, 100),
    st.integers(),
    st.none() | text,
    st.none() | text,
    st.none() | text,
    st.none() | st.floats(0, 1e6, exclude_min=True),
    st.none() | st.floats(0, 1e6, exclude_min=True),
    st.none() | st.sets(st.sampled_from(KINDS)).map(parse_kinds),
    st.none() | text,
    st.none() | st.integers(1, 100),
)
jobs = st.builds(
    Job,
    id=st.uuids().map(lambda value: value.hex),
    media_type=text,
    width=count,
    height=count,
    input_bytes=count,
    created_ms=count,
    options=options,
    state=st.sampled_from(JobState),
    tenant=text,
    priority=st.sampled_from(PRIORITIES),
    started_ms=st.none() | count,
    finished_ms=st.none() | count,
    expires_ms=st.none() | count,
    attempt=count,
    step=count,
    steps_total=st.none() | count,
    model=st.none() | text,
    caption=st.none() | text,
    findings=findings,
    result_media_type=st.none() | text,
    error_code=st.none() | text,
    error_detail=st.none() | text,
    cancel_requested=st.booleans(),
    webhook=st.none() | st.builds(Webhook, text, st.sets(st.sampled_from(WEBHOOK_EVENTS), min_size=1).map(tuple)),
    traceparent=st.none() | text,
)


@given(jobs)
def test_decoding_an_encoded_job_gives_the_job(job: Job) -> None:
    stored = {name.encode(): value.encode() for name, value in encode_job(job).items()}
    assert decode_job(stored) == job


@given(findings)
def test_decoding_encoded_findings_gives_the_findings(found: tuple[Finding, ...]) -> None:
    assert decode_findings(encode_findings(found)) == found
