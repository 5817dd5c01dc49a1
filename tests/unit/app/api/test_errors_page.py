"""docs/errors.md and /errors tell every error there is, as the code has it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import app
from app.api import error_page
from app.api.app import create_app
from app.api.error_catalogue import TEXTS, catalogue
from app.api.operation_errors import OPERATIONS, errors_of
from app.errors import DeviceUnavailableError, EmbeddedRedisError, ServiceError, UnusableRedisError
from app.jobs.dead import JobNotDeadError
from app.settings import Settings
from app.storage.errors import StorageSetupError

DOCUMENT = Path(__file__).parents[4] / "docs" / "errors.md"
OF_PROGRAMS = ("app.bench", "app.client", "app.commands")
"""Packages whose errors a person at a terminal sees, and no caller of the API."""
NEVER_SENT = (DeviceUnavailableError, EmbeddedRedisError, JobNotDeadError, StorageSetupError, UnusableRedisError)


def kinds(base: type[ServiceError]) -> list[type[ServiceError]]:
    return [base, *(found for kind in base.__subclasses__() for found in kinds(kind))]


def test_document_is_what_the_code_says() -> None:
    said = "docs/errors.md is out of date; run: python -m app.api.error_page > docs/errors.md"
    assert DOCUMENT.read_text(encoding="utf-8") == error_page.markdown(), said


def test_every_error_class_is_in_the_catalogue() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.rpartition(".")[2] == "errors":
            importlib.import_module(module.name)
    entries = {entry.code: entry for entry in catalogue()}
    assert set(entries) == set(TEXTS), "say in app/api/error_catalogue.py when each happens and what to do"
    for kind in kinds(ServiceError):
        if not kind.__module__.startswith("app.") or kind.__module__.startswith(OF_PROGRAMS) or kind in NEVER_SENT:
            continue
        assert kind.code in entries, f"{kind.code} is missing in app/api/error_catalogue.py"
        assert entries[kind.code].status == kind.status


def test_every_operation_tells_its_errors_and_no_other_does() -> None:
    schema = create_app(Settings(redis_url="redis://127.0.0.1:1")).openapi()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == set(OPERATIONS), "add the operation to app/api/operation_errors.py"
    for name, operation in operations.items():
        told = {
            (int(status), code)
            for status, response in operation["responses"].items()
            if int(status) >= 400
            for code in response["content"]["application/problem+json"]["examples"]
        }
        assert told == {(item.status, item.code) for item in errors_of(name)}


def test_page_has_an_anchor_for_every_code_and_no_dead_link() -> None:
    page = error_page.page()
    anchors = re.findall(r'id="(\w+)"', page)
    assert sorted(anchors) == sorted(TEXTS)
    assert set(re.findall(r'href="#(\w+)"', page)) <= set(anchors)
    assert "`" not in page
