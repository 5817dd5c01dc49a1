"""The page about every error, as Markdown (docs/errors.md: `python -m app.api.error_page`) and as HTML (/errors)."""

from __future__ import annotations

import html
import re
import sys
import textwrap

from app.api.error_catalogue import ErrorEntry, catalogue
from app.api.operation_errors import EVERYWHERE, OPERATIONS, errors_of, operations_with

_TITLE = "Errors"
_INTRO = (
    "Every error of the service is a document of type `application/problem+json` (RFC 9457). Branch on `code`: codes "
    "are added to, never renamed. `type` leads to the code on this page, which every service has at `/errors`; `title` "
    "and `detail` are for people. `retryable` says whether the same request may succeed later, the header "
    "`Retry-After` after how many seconds. `request_id`, also in the header `X-Request-Id`, finds it in the log.",
    "A failed job has its reason as `error.code`. Entries of a batch that never became jobs have, as theirs, the code "
    "that the same photo would have met alone.",
)
_SHARED = (
    "Any path may answer with `not_found` or `method_not_allowed`, and every operation with `internal_error`. With "
    "`Prefer: wait=N`, `job_failed` has the status of the job's `error_code`."
)
_ANY_PATH = ("not_found", "method_not_allowed")
_WIDTH = 140


def markdown() -> str:
    """Give docs/errors.md."""
    lines = ["<!-- Written by `python -m app.api.error_page`; edit app/api/error_catalogue.py instead. -->"]
    lines += [f"# {_TITLE}", ""]
    for paragraph in _INTRO:
        lines += [_wrap(paragraph), ""]
    lines += ["## By operation", "", _wrap(_SHARED), "", "| operation | codes by status |", "|---|---|"]
    lines += [f"| `{name}` | {_codes_by_status(name)} |" for name in OPERATIONS]
    lines += ["", "## Codes", ""]
    for entry in catalogue():
        lines += [f"### {entry.code}", "", _wrap(f"{entry.title}. {_facts(entry)}"), ""]
        lines += [_wrap(f"- **When**: {entry.when}", "  "), _wrap(f"- **What to do**: {entry.remedy}", "  "), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def page() -> str:
    """Give the same as a page of HTML without scripts, with an anchor per code."""
    parts = [f"<h1>{_TITLE}</h1>", *(f"<p>{_inline(paragraph)}</p>" for paragraph in _INTRO)]
    parts += ["<h2>By operation</h2>", f"<p>{_inline(_SHARED)}</p>", "<table>"]
    parts += [
        f"<tr><td>{_inline(f'`{name}`')}</td><td>{_inline(_codes_by_status(name))}</td></tr>" for name in OPERATIONS
    ]
    parts += ["</table>", "<h2>Codes</h2>"]
    for entry in catalogue():
        parts.append(f'<section id="{entry.code}"><h3><a href="#{entry.code}">{entry.code}</a></h3>')
        parts.append(f"<p>{_inline(f'{entry.title}. {_facts(entry)}')}</p>")
        parts.append(f"<p>When: {_inline(entry.when)}</p><p>What to do: {_inline(entry.remedy)}</p></section>")
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>VLMIR: errors</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
    )
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _codes_by_status(name: str) -> str:
    own = {entry.code: entry.status for entry in catalogue()}
    by_status: dict[int, list[str]] = {}
    for item in errors_of(name):
        if item.code not in EVERYWHERE and item.status == own[item.code]:
            by_status.setdefault(item.status, []).append(f"[`{item.code}`](#{item.code})")
    return "; ".join(f"{status}: {', '.join(codes)}" for status, codes in by_status.items()) or "none of its own"


def _facts(entry: ErrorEntry) -> str:
    sent = operations_with(entry.code)
    if entry.code in EVERYWHERE:
        where = "Every operation."
    elif sent:
        where = ", ".join(f"`{name}`" for name in sent) + "."
    else:
        where = "Any path." if entry.code in _ANY_PATH else ""
    of_jobs = "An `error.code` of failed jobs." if entry.of_jobs else ""
    return " ".join(filter(None, [f"Status {entry.status}. Retryable: {entry.retryable}.", where, of_jobs]))


def _inline(text: str) -> str:
    """Turn the few marks of these texts into HTML."""
    safe = html.escape(text, quote=False)
    safe = re.sub(r"\[`(\w+)`\]\(#(\w+)\)", r'<a href="#\2"><code>\1</code></a>', safe)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)


if __name__ == "__main__":
    sys.stdout.write(markdown())
