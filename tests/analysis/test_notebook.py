"""The notebooks run from top to bottom on the stored sample, define nothing, and are stored without outputs."""

from __future__ import annotations

import ast
import asyncio
import os
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from crawler.model.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path: Path) -> list[str]:
    """The code cells of a notebook."""
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_a_notebook_to_begin_with() -> None:
    assert ROOT / "notebooks" / "explore_a_run.ipynb" in NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing_and_is_stored_without_outputs(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for source in code(path):
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(jupyter_client|nbclient|zmq|ipykernel).*")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sockets of the kernel's client
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_on_the_sample(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv("STARTTLS_DATA", raising=False)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    asyncio.run(client.async_execute())
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)


def test_outside_of_the_repository_the_first_cell_says_which_directory_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STARTTLS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    first = tmp_path / "first_cell.py"
    first.write_text(code(ROOT / "notebooks" / "explore_a_run.ipynb")[0], "utf-8")
    with pytest.raises(UsageError, match=r"sample: no such directory"):
        runpy.run_path(str(first))
