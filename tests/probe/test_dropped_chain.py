"""Certificates beyond the cap are counted, and what they might have changed is unknown, never *no*."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from crawler.certificates.trust_store import TrustStore
from crawler.certificates.verdicts import judge_chain
from crawler.chains.rejudge import Rule, rejudge
from crawler.dataset.run import RunDirectory
from crawler.model.rows import Probe
from crawler.settings.config import Limits
from tests.chains.test_rejudge import rows_of
from tests.kit.chain_runs import ANCHOR, INTERMEDIATE, LEAF, Chain, stored
from tests.kit.chains import START, known, pem
from tests.kit.conversations import LEAF as SERVER
from tests.kit.conversations import ROOT, play

DIALOG = """
    S: 220 mx.example
    C: EHLO probe.example
    S: 250-mx.example
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 go
    TLS
    C: EHLO probe.example
    S: 250 mx.example
"""


@pytest.mark.parametrize(("most", "dropped"), [(32, 0), (2, 1), (1, 2)])
def test_certificates_beyond_the_cap_are_counted(most: int, dropped: int) -> None:
    context = SERVER.context()
    for _ in range(2):
        context.add_extra_chain_cert(ROOT.certificate)
    heard = play(DIALOG, limits=Limits(certificates=most), context=context)
    assert heard.probe.chain_dropped == dropped
    assert len(heard.conversation.chain) == 3 - dropped


def judged(tmp_path: Path, chain: Chain, dropped: int | None) -> Sequence[bool | None]:
    """What is said of trust, dates and order of a chain of which so many certificates were left out."""
    anchors = tmp_path / "anchors.pem"
    anchors.write_text(pem(ANCHOR))
    probe = Probe(chain_dropped=dropped)
    judge_chain(probe, known(*chain), TrustStore(str(anchors)).judge, START)
    return probe.chain_trusted, probe.within_validity, probe.chain_ordered


def test_a_chain_that_was_cut_is_trusted_or_unknown(tmp_path: Path) -> None:
    assert judged(tmp_path, [LEAF, INTERMEDIATE], 0) == (True, True, True)
    assert judged(tmp_path, [LEAF, INTERMEDIATE], 1) == (True, True, None)
    assert judged(tmp_path, [LEAF], 0) == (False, True, True)
    assert judged(tmp_path, [LEAF], 1) == (None, None, None)
    assert judged(tmp_path, [INTERMEDIATE, LEAF], 1)[2] is False


def test_a_chain_that_was_cut_stays_unknown_when_it_is_judged_again(tmp_path: Path) -> None:
    run: RunDirectory = stored(tmp_path / "data" / "run=cut", [[LEAF]], dropped=1)
    rejudge(run.path.parent, run.id, tmp_path / "new", Rule())
    (row,) = (row for row in rows_of(tmp_path / "new" / "run=cut", "probes") if row["received_chain"])
    assert (row["chain_dropped"], row["chain_trusted"], row["strict_valid"]) == (1, None, None)
