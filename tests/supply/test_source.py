"""What the shipped source never does: unpickle, evaluate text, run a shell, make temporary files with known names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("app", "model") for path in (ROOT / package).rglob("*.py"))

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "telnetlib", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("tempfile", "mktemp"),
    ("os", "system"),
    ("os", "popen"),
    ("yaml", "load"),
}


def faults(tree: ast.AST) -> Iterator[str]:
    """What a syntax tree has that it should not have, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: imports {item.name}" for item in node.names if _root(item.name) in MODULES)
        elif isinstance(node, ast.ImportFrom) and _root(node.module or "") in MODULES and node.level == 0:
            yield f"{node.lineno}: imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from _faults_of_call(node)


def _faults_of_call(node: ast.Call) -> Iterator[str]:
    keywords = {item.arg: item.value for item in node.keywords}
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield f"{node.lineno}: calls {node.func.id}"
    if _is(keywords.get("shell"), True):
        yield f"{node.lineno}: runs a shell"
    if _is(keywords.get("allow_pickle"), True):
        yield f"{node.lineno}: allows pickle"
    if _is(keywords.get("trust_remote_code"), True):
        yield f"{node.lineno}: runs code that comes with weights"
    if _is(keywords.get("use_safetensors"), False):
        yield f"{node.lineno}: takes weights of another form"
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        name = (node.func.value.id, node.func.attr)
        if name in METHODS:
            yield f"{node.lineno}: calls {'.'.join(name)}"
        if name == ("torch", "load") and not _is(keywords.get("weights_only"), True):
            yield f"{node.lineno}: torch.load without weights_only"


def _root(name: str) -> str:
    return name.partition(".")[0]


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_source_has_none_of_it() -> None:
    assert len(SOURCES) > 200
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in SOURCES
        for fault in faults(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "tempfile.mktemp()",
        "Model.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_of_it_would_be_found(text: str) -> None:
    assert len(list(faults(ast.parse(text)))) == 1


def test_what_is_allowed_is_not_found() -> None:
    text = "torch.load(p, weights_only=True); model.eval(); re.compile(x); subprocess.run([x]); tempfile.mkdtemp()"
    assert list(faults(ast.parse(text))) == []
