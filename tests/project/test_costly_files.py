"""Files other than lists cost no more than their share either: settings, opt-outs, manifests, stored parts, weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.figures.weights import load_weights
from analysis.runs.run import Run
from crawler.certificates.trust_store import TrustStore
from crawler.dataset.parts import Damaged, batches, opened
from crawler.dataset.stored_manifest import read_manifest
from crawler.model.errors import ConfigError, UsageError
from crawler.politeness import opt_out_file
from crawler.politeness.opt_out_file import read_opt_outs
from crawler.settings.config import Config
from crawler.settings.memory_limit import limited_memory
from tests.kit.chain_runs import INTERMEDIATE, LEAF, stored
from tests.kit.forged_parquet import RLE_DICTIONARY, column, file, footer, group, one_column, page, same_index, strings
from tests.kit.manifests import state_rows
from tests.kit.small_runs import domain, host, write_run

ROOT = Path(__file__).resolve().parent.parent.parent
ENDLESS = Path("/dev/zero")


def test_a_file_of_settings_without_end_or_bottom_is_one_line(tmp_path: Path) -> None:
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 20_000)
    for path, words in ((ENDLESS, "larger than 1 MiB"), (deep, "is not TOML")):
        with pytest.raises(UsageError, match=words) as error:
            Config.load(path, {})
        assert "\n" not in str(error.value)


def test_opt_outs_without_end_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opt_out_file, "_MOST_NETWORKS", 10_000)
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        read_opt_outs(ENDLESS)
    many = tmp_path / "ranges"
    many.write_text("::1 - ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n" * 50)
    with pytest.raises(ConfigError, match="more than 10,000 networks"):
        read_opt_outs(many)


def test_trust_anchors_without_end_are_one_line() -> None:
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        TrustStore(str(ENDLESS))


def test_a_manifest_made_to_fill_the_memory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" + "{}," * 6_000_000 + "{}]")
    with pytest.raises(UsageError, match="larger than 16 MiB"):
        read_manifest(tmp_path)


def test_weights_in_one_endless_line_are_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "data", [domain("a.test", "mx.a.test"), host("mx.a.test", "192.0.2.1")])
    weights = tmp_path / "weights.csv"
    weights.write_text("domain,messages\n" + "a" * 1_000_000)
    with Run.open(tmp_path / "data") as run, pytest.raises(UsageError, match=r"weights\.csv:2: is longer than 65,536"):
        load_weights(weights, run)


def test_a_part_with_very_many_columns_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(file(b"", footer([group("schema", 300_000), *[column("c")] * 300_000], [], 0)))
    with pytest.raises(Damaged, match="size limit"), opened(path):
        raise AssertionError("a footer of so many columns was read")


def forged_part() -> bytes:
    """A part of some hundred bytes, 8 GiB as soon as it is read."""
    pages = [
        page(strings(b"a" * (1 << 20)), 1, dictionary=True),
        page(same_index(0, 8_192), 8_192, encoding=RLE_DICTIONARY),
    ]
    return one_column(pages, 8_192, has_dictionary=True)


def test_a_lack_of_memory_is_not_taken_for_a_damaged_part(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(forged_part())
    with limited_memory(1 << 30), pytest.raises(MemoryError), opened(path) as part:
        assert sum(batch.num_rows for batch in batches(part)) < 8_192


#: Runs the command line in six GiB of address space, and writes how many KiB the process had in memory at most.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30,) * 2)
from crawler.commands.main import main
code = main(sys.argv[2:])
most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
open(sys.argv[1], "w").write(most)
sys.exit(code)
"""


@pytest.mark.timeout(300)  # three commands, each a process that imports everything
def test_a_dataset_with_a_forged_part_is_read_in_bounded_memory(tmp_path: Path) -> None:
    run = stored(tmp_path / "data" / "run=forged", [[LEAF, INTERMEDIATE]])
    (part,) = (part for part in run.parts("certificates") if part.stem != "empty")
    rows, large = 8_192, pa.array([bytes(8 << 20)], pa.binary())
    columns = {
        "sha256": pa.array([f"{number:064x}" for number in range(rows)]),
        "der": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), large),
    }
    pq.write_table(pa.table(columns), part.absolute(), compression="zstd", store_schema=False, use_dictionary=True)
    assert part.stat().st_size < 1 << 20
    state_rows(run, "certificates", rows)
    for command, code in (["rejudge", "--out", "new"], 2), (["stats"], 0), (["report", "--out", "site"], 0):
        done = subprocess.run(
            [sys.executable, "-P", "-c", LIMITED, "most", command[0], "--data", "data", *command[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, done.stderr[-2_000:]
        assert "Traceback" not in done.stderr
        assert int((tmp_path / "most").read_text()) < 4 << 20
        if code:
            assert done.stderr.splitlines()[-1].count("more than 3,072 MiB of memory") == 1
    assert not (tmp_path / "new").exists()
