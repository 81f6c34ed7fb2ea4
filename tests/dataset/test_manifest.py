"""A run is continued with what it was begun with, and its manifest says what was different all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import certifi
import pyarrow.parquet as pq
import pytest

from crawler.certificates.trust_store import TrustStore
from crawler.dataset.manifest import with_resumption
from crawler.model.errors import UsageError
from crawler.model.rows import Endpoint, Probe, schema_of
from crawler.scan.choose_run import open_run
from crawler.settings.config import Config
from tests.kit.contexts import run_context

FACTS = run_context()
CONFIG = Config(ehlo_name="probe.example")


def test_a_resumption_is_on_record_with_the_versions_that_did_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path, "mine", CONFIG, FACTS)
    monkeypatch.setattr("crawler.dataset.manifest.PSL_VERSION", "2030-01-01")
    monkeypatch.setattr("crawler.dataset.manifest.__version__", "99.0")
    begun = replace(run.manifest(), resumed_with=None)  # of an earlier version
    manifest = with_resumption(with_resumption(begun)).as_dict()
    assert len(manifest["resumed_at"]) == 2
    assert [record["at"] for record in manifest["resumed_with"]] == manifest["resumed_at"]
    assert manifest["resumed_with"][0]["public_suffix_list"] == "2030-01-01" != manifest["public_suffix_list"]
    assert manifest["resumed_with"][0]["versions"]["starttls-crawler"] == "99.0"
    assert manifest["versions"].keys() == manifest["resumed_with"][0]["versions"].keys()
    run.unlock()


def test_a_run_keeps_the_trust_anchors_it_was_begun_with(tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(Path(certifi.where()).read_bytes())
    config = replace(CONFIG, ca_file=str(anchors))
    run = open_run(tmp_path, "mine", config, run_context(anchors))
    run.unlock()
    anchors.unlink()
    again = open_run(tmp_path, "mine", config, FACTS)
    assert TrustStore(str(again.trust_anchors)).path.read_bytes() == Path(certifi.where()).read_bytes()
    again.unlock()


@pytest.mark.parametrize("place", ["probes/empty.parquet", "_work/endpoints/0001.parquet"])
def test_a_run_of_which_rows_have_other_columns_is_refused_with_their_names(tmp_path: Path, place: str) -> None:
    run = open_run(tmp_path, "mine", CONFIG, FACTS)
    run.unlock()
    part = run.path / place
    part.parent.mkdir(exist_ok=True)
    schema = schema_of(Probe if "probes" in place else Endpoint)
    older = schema.remove(schema.get_field_index("form"))
    pq.write_table(older.empty_table(), part)
    with pytest.raises(
        UsageError, match=r"run=mine: was begun by a version whose rows have other columns \(form\); .* --run"
    ):
        open_run(tmp_path, "mine", CONFIG, FACTS)
    new = open_run(tmp_path, None, CONFIG, FACTS)
    assert new.path != run.path, "without a name it is passed over, aloud"
    new.unlock()


def test_a_run_that_lost_its_trust_anchors_cannot_be_continued(tmp_path: Path) -> None:
    run = open_run(tmp_path, "mine", CONFIG, FACTS)
    run.unlock()
    run.trust_anchors.unlink()
    with pytest.raises(UsageError, match=r"run=mine: has no trust anchors .* --run"):
        open_run(tmp_path, "mine", CONFIG, FACTS)
