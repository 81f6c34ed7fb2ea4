"""Incidents of a run are in its manifest as soon as they happen, beside those of earlier calls."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.run import RunDirectory
from crawler.model.errors import ScanFailed
from crawler.scan.choose_run import open_run
from crawler.scan.incidents import IncidentRecord
from crawler.settings.config import Config
from tests.kit.contexts import run_context
from tests.kit.manifests import amended

EARLIER: dict[str, Any] = {"since": 1.0, "until": 2.0, "what": "before", "asked": [], "withdrawn": 0, "stand": 0}
OUTAGE: dict[str, Any] = {"since": 3.0, "until": None, "what": "now", "asked": [], "withdrawn": 2, "stand": 0}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = open_run(tmp_path, "mine", Config(ehlo_name="probe.example"), run_context())
    made.unlock()
    amended(made, outages=[EARLIER])
    return made


def test_an_outage_is_written_when_it_begins_and_again_when_it_is_over(run: RunDirectory) -> None:
    record = IncidentRecord(run)
    record.begin(run.manifest())
    record.write({"outages": [OUTAGE]})
    assert run.manifest().outages == [EARLIER, OUTAGE], "a process that is killed now leaves it without an end"
    over = {**OUTAGE, "until": 4.0}
    record.write({"outages": [over]})
    assert run.manifest().outages == record.entries()["outages"] == [EARLIER, over]
    assert run.manifest().doubts == run.manifest().given_up == []


def test_a_call_without_incidents_keeps_those_of_earlier_calls(run: RunDirectory) -> None:
    record = IncidentRecord(run)
    record.begin(run.manifest())
    assert record.entries() == {"outages": [EARLIER], "doubts": [], "given_up": []}


def test_a_disk_that_takes_no_record_ends_the_scan_with_one_line(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunDirectory, "write_manifest", full)
    with pytest.raises(ScanFailed, match=r"the manifest cannot be written \(No space left on device\)"):
        IncidentRecord(run).write({"outages": [OUTAGE]})
