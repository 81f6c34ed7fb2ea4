"""Parts whose columns have other types than a scan writes are refused by whoever reads them, at once and in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.dataset.find_run import find_finished
from crawler.model.errors import UsageError
from tests.kit.small_runs import domain, host, probe, write_run


def nested(levels: int) -> pa.Array:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return pa.array([value])


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("hosts", "host", nested(40)),
        ("hosts", "host", nested(60)),
        ("domains", "mx", pa.array([[["x"]]])),
        ("probes", "forward_secret", pa.array(["yes"])),
        ("probes", "forward_secret", pa.array([7])),
        ("certificates", "names", pa.array(["a.example"])),
    ],
    ids=["deep", "too deep to be read", "mx", "text for a verdict", "number for a verdict", "text for a list"],
)
def test_a_column_of_another_type_is_one_line_and_no_work(
    tmp_path: Path, table: str, column: str, values: pa.Array
) -> None:
    rows = [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")]
    write_run(tmp_path, rows)
    (folder,) = tmp_path.glob("run=*")
    part = folder / table / "forged.parquet"
    part.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({column: values}), part)
    with (
        pytest.raises(
            UsageError, match=rf"forged.parquet: (column {column} is .*not written by a scan|cannot be read as a run)"
        ),
        Run.open(tmp_path),
    ):
        pass


def test_a_run_that_is_judged_again_is_held_to_the_same(tmp_path: Path) -> None:
    write_run(
        tmp_path, [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")]
    )
    (folder,) = tmp_path.glob("run=*")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest |= {"run": "x", "config_sha256": "x", "trust_anchors": {"sha256": "x"}}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    for part in folder.glob("*/part-0.parquet"):  # the name that the first part of a scan has
        part.rename(part.with_name(f"{part.parent.name}-0000.parquet"))
    (part,) = (folder / "probes").glob("*.parquet")
    whole = pq.read_table(part)
    at = whole.column_names.index("received_chain")
    pq.write_table(whole.set_column(at, "received_chain", pa.array([7] * whole.num_rows)), part)
    with pytest.raises(UsageError, match=r"received_chain is int64"):
        find_finished(tmp_path, None)
