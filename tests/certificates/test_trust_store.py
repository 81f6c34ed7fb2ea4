"""Chains of every kind, judged by us and by the `openssl` program: both must say the same of each."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.name_match import name_match
from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.trust_store import TrustStore, completed
from crawler.model.errors import ConfigError
from crawler.settings.config import Limits
from tests.kit.chains import (
    SERVER,
    START,
    Subject,
    der,
    excluded,
    known,
    pem,
    permitted,
    tall,
    usage_without_signing,
    with_sha1,
)
from tests.kit.stored_anchors import HOST, LEAF, LOWER, MIDDLE, OTHER, ROOT

ANCHOR, OTHER_ANCHOR = ROOT.root(), OTHER.root()
INTERMEDIATE = ROOT.issue(MIDDLE, ca=True)
WEAK = Subject("Weak", rsa.generate_private_key(65537, 1024))
Scene = tuple[list[x509.Certificate], list[x509.Certificate], int]
HUNDRED, EIGHT = (tall(height, Subject("leaf"), HOST) for height in (100, 8))


#: What is sent, what is trusted, and OpenSSL's X509_V_ERR code; 0 is trusted.
SCENES: dict[str, Scene] = {
    "leaf and intermediate": ([LEAF, INTERMEDIATE], [ANCHOR], 0),
    "root sent too": ([LEAF, INTERMEDIATE, ANCHOR], [ANCHOR], 0),
    "leaf of a root": ([ROOT.leaf(HOST)], [ANCHOR], 0),
    "intermediate missing": ([LEAF], [ANCHOR], 20),
    "out of order": ([LEAF, ANCHOR, INTERMEDIATE], [ANCHOR], 0),
    "with certificates of no use": ([LEAF, OTHER_ANCHOR, ROOT.leaf("x.example"), INTERMEDIATE], [ANCHOR], 0),
    "twice the leaf": ([LEAF, LEAF, INTERMEDIATE], [ANCHOR], 0),
    "self-signed": ([Subject("leaf").root(names=[HOST])], [ANCHOR], 18),
    "root unknown but sent": ([LEAF, INTERMEDIATE, ANCHOR], [OTHER_ANCHOR], 19),
    "root unknown": ([LEAF, INTERMEDIATE], [OTHER_ANCHOR], 20),
    "intermediate unknown, leaf is an anchor": ([LEAF], [ANCHOR, LEAF], 20),
    "cross-sign, both ways known": ([LEAF, INTERMEDIATE, OTHER.issue(ROOT, ca=True)], [ANCHOR, OTHER_ANCHOR], 0),
    "cross-sign, the other root alone known": ([LEAF, INTERMEDIATE, OTHER.issue(ROOT, ca=True)], [OTHER_ANCHOR], 0),
    "cross-sign, expired, beside a known root": (
        [LEAF, INTERMEDIATE, OTHER.issue(ROOT, ca=True, days=(-30, -1))],
        [ANCHOR, OTHER_ANCHOR],
        0,
    ),
    "intermediate of the same name with another key": ([LEAF, ROOT.issue(Subject("Middle"), ca=True)], [ANCHOR], 7),
    "expired leaf": ([MIDDLE.leaf(HOST, days=(-30, -1)), INTERMEDIATE], [ANCHOR], 0),
    "expired intermediate": ([LEAF, ROOT.issue(MIDDLE, ca=True, days=(-30, -1))], [ANCHOR], 0),
    "leaf of tomorrow": ([MIDDLE.leaf(HOST, days=(1, 30)), INTERMEDIATE], [ANCHOR], 0),
    "leaf for clients": ([ROOT.leaf(HOST, usage=[ExtendedKeyUsageOID.CLIENT_AUTH])], [ANCHOR], 26),
    "leaf for code": ([ROOT.leaf(HOST, usage=[ExtendedKeyUsageOID.CODE_SIGNING])], [ANCHOR], 26),
    "leaf for anything": ([ROOT.leaf(HOST, usage=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])], [ANCHOR], 26),
    "leaf for clients and servers": ([ROOT.leaf(HOST, usage=[ExtendedKeyUsageOID.CLIENT_AUTH, SERVER])], [ANCHOR], 0),
    "leaf without purpose": ([ROOT.leaf(HOST, usage=None)], [ANCHOR], 0),
    "intermediate for clients": (
        [LEAF, ROOT.issue(MIDDLE, ca=True, usage=[ExtendedKeyUsageOID.CLIENT_AUTH])],
        [ANCHOR],
        26,
    ),
    "path longer than allowed": (
        [LOWER.leaf(HOST), MIDDLE.issue(LOWER, ca=True), ROOT.issue(MIDDLE, ca=True, path_length=0)],
        [ANCHOR],
        25,
    ),
    "path as long as allowed": (
        [LOWER.leaf(HOST), MIDDLE.issue(LOWER, ca=True), ROOT.issue(MIDDLE, ca=True, path_length=1)],
        [ANCHOR],
        0,
    ),
    "name outside its constraints": ([LEAF, ROOT.issue(MIDDLE, ca=True, constraints=permitted("else"))], [ANCHOR], 47),
    "name within its constraints": ([LEAF, ROOT.issue(MIDDLE, ca=True, constraints=permitted("example"))], [ANCHOR], 0),
    "name excluded": ([LEAF, ROOT.issue(MIDDLE, ca=True, constraints=excluded("mx.example"))], [ANCHOR], 48),
    "intermediate is no CA": ([LEAF, ROOT.issue(MIDDLE, ca=False)], [ANCHOR], 79),
    "intermediate without basicConstraints": ([LEAF, ROOT.issue(MIDDLE)], [ANCHOR], 79),
    "intermediate may not sign": (
        [LEAF, ROOT.issue(MIDDLE, ca=True, key_usage=usage_without_signing())],
        [ANCHOR],
        79,
    ),
    "a leaf issued a leaf": ([MIDDLE.leaf(HOST), ROOT.issue(MIDDLE, ca=False, names=[HOST])], [ANCHOR], 79),
    "leaf is a CA": ([ROOT.issue(Subject("leaf"), ca=True, names=[HOST])], [ANCHOR], 0),
    "leaf without basicConstraints": ([ROOT.leaf(HOST, ca=None)], [ANCHOR], 0),
    "SHA-1 leaf": ([with_sha1(ROOT.leaf(HOST), ROOT)], [ANCHOR], 68),
    "SHA-1 intermediate": ([LEAF, with_sha1(INTERMEDIATE, ROOT)], [ANCHOR], 68),
    "SHA-1 root": ([LEAF, INTERMEDIATE], [with_sha1(ANCHOR, ROOT)], 0),
    "SHA-1 cross-sign that is not needed": (
        [LEAF, INTERMEDIATE, with_sha1(OTHER.issue(ROOT, ca=True), OTHER)],
        [ANCHOR, OTHER_ANCHOR],
        0,
    ),
    "1024-bit intermediate": ([WEAK.leaf(HOST), ROOT.issue(WEAK, ca=True)], [ANCHOR], 0),
    "1024-bit root": ([WEAK.leaf(HOST)], [WEAK.root()], 0),
    "unknown critical extension in the leaf": ([ROOT.leaf(HOST, critical_unknown=True)], [ANCHOR], 34),
    "unknown critical extension in the intermediate": (
        [LEAF, ROOT.issue(MIDDLE, ca=True, critical_unknown=True)],
        [ANCHOR],
        34,
    ),
    "eight certificates": (EIGHT[:-1], EIGHT[-1:], 0),
    "a hundred certificates": (HUNDRED[:-1], HUNDRED[-1:], 0),
    "a hundred certificates without the root": (HUNDRED[:-1], [ANCHOR], 20),
    "NUL in a name": ([ROOT.leaf(f"{HOST}\x00.evil.example")], [ANCHOR], 0),
    "newline in a name": ([ROOT.leaf(f"{HOST}\n.evil.example")], [ANCHOR], 0),
}


def judge(folder: Path, chain: list[x509.Certificate], anchors: Iterable[x509.Certificate]) -> ChainVerdict:
    (folder / "roots.pem").write_text(pem(*anchors))
    store = TrustStore(str(folder / "roots.pem"))
    return store.judge([store.known(certificate.openssl) for certificate in known(*chain)])


@pytest.mark.parametrize("scene", SCENES)
def test_every_kind_of_chain_has_its_verdict(scene: str, tmp_path: Path) -> None:
    chain, anchors, code = SCENES[scene]
    found = judge(tmp_path, chain, anchors)
    assert (found.trusted, found.error_code) == (code == 0, code), found.error
    assert (found.error is None) == (found.error_depth is None) == found.trusted


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("scene", SCENES)
def test_openssl_verify_says_the_same(scene: str, tmp_path: Path) -> None:
    chain, anchors, _ = SCENES[scene]
    found = judge(tmp_path, chain, anchors)
    (tmp_path / "leaf.pem").write_text(pem(chain[0]))
    (tmp_path / "sent.pem").write_text(pem(*chain[1:]) or pem(chain[0]))
    command = ["openssl", "verify", "-purpose", "sslserver", "-no_check_time", "-no-CApath", "-no-CAstore"]
    command += ["-auth_level", "1"]  # as Postfix has it where it must verify
    command += ["-CAfile", "roots.pem", "-untrusted", "sent.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    errors = re.findall(r"^error (\d+) at (\d+) depth lookup", done.stdout + done.stderr, re.MULTILINE)
    assert found.trusted is (done.returncode == 0), done.stdout + done.stderr
    # The program goes on after an error and prints each; the first is the one that we stop at.
    assert (str(found.error_code), str(found.error_depth)) == (errors[0] if errors else ("0", "None"))


@pytest.mark.parametrize("scene", ["expired leaf", "expired intermediate", "leaf of tomorrow"])
def test_dates_are_apart_from_trust_and_of_the_whole_path(scene: str, tmp_path: Path) -> None:
    chain, anchors, _ = SCENES[scene]
    found = judge(tmp_path, chain, anchors)
    assert found.trusted and found.within_validity(START) is False
    assert found.within_validity(START + timedelta(days=20 if scene == "leaf of tomorrow" else -20)) is True


def test_dates_of_certificates_off_the_path_do_not_count(tmp_path: Path) -> None:
    chain, anchors, _ = SCENES["cross-sign, expired, beside a known root"]
    assert judge(tmp_path, chain, anchors).within_validity(START) is True


OLD = OTHER.issue(MIDDLE, ca=True, days=(-30, -1))


"""An intermediate that is expired, of a root that is not known: Let's Encrypt's R3 by DST was one, beside R3 by ISRG."""


@pytest.mark.parametrize("sent", [[LEAF, OLD, INTERMEDIATE], [LEAF, INTERMEDIATE, OLD]], ids=["first", "last"])
def test_an_expired_twin_of_an_unknown_root_hides_no_good_path(sent: list[x509.Certificate], tmp_path: Path) -> None:
    found = judge(tmp_path, sent, [ANCHOR])
    assert found.trusted and found.within_validity(START)
    if shutil.which("openssl"):
        (tmp_path / "leaf.pem").write_text(pem(sent[0]))
        (tmp_path / "sent.pem").write_text(pem(*sent[1:]))
        command = ["openssl", "verify", "-purpose", "sslserver", "-CAfile", "roots.pem", "-untrusted", "sent.pem"]
        done = subprocess.run([*command, "leaf.pem"], cwd=tmp_path, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("key", "options", "code"),
    [
        ("rsa:2048", ["-sha256"], 0),
        ("rsa:2048", ["-sha1"], 68),
        ("rsa:2048", ["-sigopt", "rsa_padding_mode:pss", "-sha256"], 0),
        ("rsa:2048", ["-sigopt", "rsa_padding_mode:pss", "-sha1"], 68),
        ("rsa:1024", ["-sha256"], 0),
        ("rsa:512", ["-sha256"], 66),
    ],
)
def test_what_is_too_weak_is_what_openssl_finds_too_weak(
    key: str, options: list[str], code: int, tmp_path: Path
) -> None:
    """The program makes what the `cryptography` library refuses to make."""

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["openssl", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)

    root = ["-x509", "-newkey", "rsa:2048", "-subj", "/CN=Root", "-keyout", "root.key", "-out", "root.pem"]
    leaf = ["-x509", "-newkey", key, "-subj", "/CN=leaf", "-keyout", "leaf.key", "-out", "leaf.pem"]
    issued = ["-CA", "root.pem", "-CAkey", "root.key", "-addext", "basicConstraints=CA:FALSE", *options]
    for arguments in (root, [*leaf, *issued]):
        assert run("req", "-nodes", *arguments).returncode == 0
    command = ["verify", "-purpose", "sslserver", "-auth_level", "1", "-no-CApath", "-no-CAstore"]
    done = run(*command, "-CAfile", "root.pem", "leaf.pem")
    errors = re.findall(rb"^error (\d+) at (\d+) depth", done.stdout + done.stderr, re.MULTILINE)
    store = TrustStore(str(tmp_path / "root.pem"))
    found = store.judge(
        [store.known(crypto.load_certificate(crypto.FILETYPE_PEM, (tmp_path / "leaf.pem").read_bytes()))]
    )
    assert (found.trusted, found.error_code) == (code == 0, code), found.error
    assert (errors[0] if errors else (b"0", b"None")) == (str(code).encode(), str(found.error_depth).encode())


def test_a_chain_judged_at_another_time_has_the_verdict_of_that_time(tmp_path: Path) -> None:
    """Of two intermediates with one key the first was good until yesterday, the second is from today on."""
    (tmp_path / "roots.pem").write_text(pem(ANCHOR))
    store = TrustStore(str(tmp_path / "roots.pem"))
    before, after = (ROOT.issue(MIDDLE, ca=True, days=days) for days in ((-30, -1), (-0.5, 60)))
    for chain in (known(LEAF, before, after), known(LEAF, after, before)):
        found = {
            day: store.judge(chain, at).within_validity(at) for day in (0, -20, -0.75) if (at := START + timedelta(day))
        }
        assert found == {0: True, -20: True, -0.75: False}


@pytest.mark.parametrize(
    ("scene", "ordered"),
    [
        ("leaf and intermediate", True),
        ("root sent too", True),
        ("leaf of a root", True),
        ("out of order", False),
        ("with certificates of no use", False),
        ("twice the leaf", False),
        ("a hundred certificates", True),
        ("cross-sign, both ways known", True),
    ],
)
def test_the_order_sent_is_a_fact_beside_the_verdict(scene: str, ordered: bool, tmp_path: Path) -> None:
    assert judge(tmp_path, *SCENES[scene][:2]).ordered is ordered


def test_a_chain_is_trusted_once_the_missing_intermediates_are_known(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text(pem(ANCHOR))
    store = TrustStore(str(tmp_path / "roots.pem"))
    twin = ROOT.issue(Subject("Middle"), ca=True)  # of the same name, with another key
    lower = MIDDLE.issue(LOWER, ca=True)
    run: dict[bytes, list[ParsedCertificate]] = {}
    for certificate in known(twin, INTERMEDIATE, lower, LEAF):
        assert certificate.der_fields is not None
        run.setdefault(certificate.der_fields.subject, []).append(certificate)
    for leaf in (LEAF, LOWER.leaf(HOST)):
        assert not store.judge(known(leaf)).trusted
        assert store.judge_with(known(leaf), lambda subject: run.get(subject, [])).trusted
    assert not store.judge_with(known(LEAF), lambda subject: []).trusted
    assert not store.judge_with(known(OTHER.leaf(HOST)), lambda subject: run.get(subject, [])).trusted


def with_known(tmp_path: Path, chain: list[x509.Certificate], *others: x509.Certificate) -> ChainVerdict:
    """The verdict on a chain if these others were known; the root of all is `ANCHOR`."""
    (tmp_path / "roots.pem").write_text(pem(ANCHOR))
    run: dict[bytes, list[ParsedCertificate]] = {}
    for certificate in known(*others):
        assert certificate.der_fields is not None
        run.setdefault(certificate.der_fields.subject, []).append(certificate)
    return TrustStore(str(tmp_path / "roots.pem")).judge_with(known(*chain), lambda subject: run.get(subject, []))


def test_what_was_known_and_not_sent_is_named_if_it_is_on_the_path(tmp_path: Path) -> None:
    lower = MIDDLE.issue(LOWER, ca=True)
    found = with_known(tmp_path, [LOWER.leaf(HOST), lower], INTERMEDIATE, lower, OTHER.issue(ROOT, ca=True))
    assert found.trusted and found.added == (hashlib.sha256(der(INTERMEDIATE)).hexdigest(),)
    assert with_known(tmp_path, [LEAF, INTERMEDIATE], INTERMEDIATE).added == ()


def test_a_known_intermediate_counts_although_one_of_its_name_was_sent_that_leads_nowhere(tmp_path: Path) -> None:
    """As with the cross-sign of a root that has left the stores."""
    elsewhere = OTHER.issue(MIDDLE, ca=True)
    assert with_known(tmp_path, [LEAF, elsewhere]).error_code == 20
    found = with_known(tmp_path, [LEAF, elsewhere], INTERMEDIATE)
    assert found.trusted and found.added == (hashlib.sha256(der(INTERMEDIATE)).hexdigest(),)


def test_the_error_that_remains_is_that_of_the_longest_path_known(tmp_path: Path) -> None:
    lower = MIDDLE.issue(LOWER, ca=True)
    leaf = LOWER.leaf(HOST, days=(-3, 3))
    found = with_known(tmp_path, [leaf], lower)
    assert (found.trusted, found.error_code, found.error_depth) == (False, 20, 1)
    assert found.window.start == START + timedelta(-3)  # dates are those of what was sent


def test_intermediates_that_signed_each_other_end_in_a_verdict(tmp_path: Path) -> None:
    ring = [Subject(f"Ring {n}") for n in range(5)]
    crosses = [one.issue(other, ca=True) for one in ring for other in ring if one is not other]
    assert with_known(tmp_path, [ring[0].leaf(HOST)], *crosses).error_code in (20, 22)
    assert with_known(tmp_path, [ring[0].leaf(HOST)], ROOT.issue(ring[0], ca=True), *crosses).trusted


def test_only_so_many_intermediates_are_added() -> None:
    crowd = known(*(ROOT.issue(MIDDLE, ca=True) for _ in range(40)))
    assert len(completed(known(LEAF), lambda subject: crowd)) == 17


def test_only_so_many_certificates_of_a_chain_are_kept() -> None:
    assert Limits().certificates < len(HUNDRED)


@pytest.mark.parametrize("scene", ["NUL in a name", "newline in a name"])
def test_a_control_character_in_a_name_cuts_nothing_off_and_breaks_no_line(scene: str) -> None:
    (leaf,) = known(SCENES[scene][0][0])
    assert not name_match(leaf, HOST)
    assert leaf.row.names is not None and leaf.row.names[0] in (f"{HOST}\\x00.evil.example", f"{HOST}\n.evil.example")


def test_trust_anchors_by_a_pipe_are_refused_as_they_would_be_read_more_than_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a pipe"):
        TrustStore(str(tmp_path / "pipe"))
