"""A scan of signed zones, mail hosts and policies says what was configured, and what real senders then do.

NSD serves the zones, Unbound validates them, Postfix and Exim take mail, nginx serves policies.  Second
opinions: `posttls-finger -l dane`, and a Postfix that is given a message for every domain at three levels.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import crypto

from analysis.runs.run import Run
from crawler.certificates.parsing import ParsedCertificate, parse
from crawler.model.rows import Domain, Probe, Tlsa
from crawler.policies import senders as rules
from tests.real import mail_servers, namespace, servers
from tests.real.senders import LEVELS
from tests.real.signed_world import ADDRESSES, BROKEN, SCENES, domain, host

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Row = dict[str, Any]


@dataclass(repr=False)
class World:
    """What is left of it: the stored rows, by the name of a scene, and what the others said."""

    domains: dict[str, Row]
    hosts: dict[str, Row]
    tlsa: dict[str, Row]
    probes: dict[str, Row]
    certificates: dict[str, Row]
    policies: dict[str, str]
    deliveries: dict[str, Row]
    opinions: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    servers.require("nsd", "unbound", "ldns-signzone", "postfix", "posttls-finger", "nginx", root=True)
    mail_servers.require(mail_servers.REAL / "root/.ready")
    namespace.require()
    # Not pytest's directory: a server that gives up root must be able to walk to its files.
    with tempfile.TemporaryDirectory(prefix="world-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        namespace.run("tests.real.signed_world", directory, seconds=200)
        with Run.open(directory / "data") as run:
            yield World(
                rows(run, "domains", "domain"),
                rows(run, "hosts", "host"),
                rows(run, "tlsa", "host"),
                rows(run, "probes", "host"),
                rows(run, "certificates", "sha256"),
                {sha256: row["text"] for sha256, row in rows(run, "policies", "sha256").items()},
                rows(run, "deliveries", "domain"),
                json.loads((directory / "opinions.json").read_text()),
            )


def rows(run: Run, table: str, key: str) -> dict[str, Row]:
    """A table of the dataset; there is one row to a key."""
    found = [row for batch in run.batches(f"FROM {table}") for row in batch.to_pylist()]
    by_key = {row[key]: row for row in found}
    assert len(by_key) == len(found)
    return by_key


def leaf_of(world: World, probe: Row) -> ParsedCertificate | None:
    if not probe["received_chain"]:
        return None
    der = world.certificates[probe["received_chain"][0]]["der"]
    return parse(crypto.load_certificate(crypto.FILETYPE_ASN1, der), der)


@pytest.mark.parametrize("name", SCENES)
def test_the_rows_say_what_was_configured(world: World, name: str) -> None:
    scene, row, probe = SCENES[name], world.domains[domain(name)], world.probes[host(name)]
    assert (row["route"], row["dnssec"]) == ("explicit", "secure" if scene.zone == "secure" else "insecure")
    assert row["mx"] == [{"host": host(name), "preference": 10}]
    assert world.hosts[host(name)]["addresses"] == [ADDRESSES[name]] == [probe["address"]]
    assert (probe["port"], probe["starttls_offered"], probe["negotiated"]) == (25, scene.starttls, scene.starttls)
    assert len(probe["received_chain"] or ()) == (2 + scene.sends_root if scene.starttls else 0)
    if scene.starttls:
        verdicts = (probe["chain_trusted"], probe["name_match"], probe["within_validity"])
        assert verdicts == (not scene.sha1, scene.names == "host", scene.days[1] > 0)
    dane = " ".join(word for word in (probe["dane"], probe["dane_error"]) if word)
    assert dane == scene.dane


@pytest.mark.parametrize("name", SCENES)
def test_the_tlsa_records_are_those_of_the_zone(world: World, name: str) -> None:
    scene, row = SCENES[name], world.tlsa[host(name)]
    base = f"real.{host(name)}" if scene.host_is_alias else host(name)
    assert (row["port"], row["base_domain"]) == (25, base)
    if scene.host_zone == "insecure":
        assert row["records"] is None, "RFC 7672 §2.2.2: an insecure host is not asked for them"
    elif scene.tlsa:
        kinds = [(record["usage"], record["selector"], record["matching"]) for record in row["records"]]
        assert sorted(kinds) == sorted(tuple(map(int, text.split()[:3])) for text in scene.tlsa)
    word = scene.dane.partition(" ")[0]
    unknown = "usable" if scene.tlsa else "lookup_failed"  # no chain to hold them against, or no records
    assert row["status"] == {"match": "usable", "mismatch": "usable", "unknown": unknown}.get(word, word)


@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.policy])
def test_the_policy_is_that_of_its_host(world: World, name: str) -> None:
    scene, row = SCENES[name], world.domains[domain(name)]
    assert (row["mta_sts_record"], row["mta_sts_fetch"]) == ("valid", scene.fetch)
    if scene.fetch != "ok":
        assert row["mta_sts_mode"] is None and row["mta_sts_problem"]
        return
    mode, _, pattern = scene.policy.partition(" ")
    patterns = [host(name) if pattern == "host" else pattern]
    assert (row["mta_sts_mode"], row["mta_sts_mx"], row["mta_sts_max_age"]) == (mode, patterns, 86_400)
    assert world.policies[row["policy_sha256"]].splitlines()[1:3] == [f"mode: {mode}", f"mx: {patterns[0]}"]


@pytest.mark.parametrize("name", SCENES)
def test_deliveries_are_what_the_scene_makes_of_each_sender(world: World, name: str) -> None:
    found = world.deliveries[domain(name)]
    assert tuple(found[f"by_{sender}"] for sender in rules.Sender) == SCENES[name].answers


@pytest.mark.parametrize("name", SCENES)
def test_the_rules_in_python_say_the_same_of_the_stored_rows(world: World, name: str) -> None:
    probe = world.probes[host(name)]
    answers = rules.deliveries(
        Domain(**world.domains[domain(name)]), Tlsa(**world.tlsa[host(name)]), Probe(**probe), leaf_of(world, probe)
    )
    assert tuple(answers[sender] for sender in rules.Sender) == SCENES[name].answers


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SCENES)
def test_postfix_does_with_a_message_what_we_say_of_its_kind(world: World, name: str, level: str) -> None:
    fate = world.opinions["fates"][f"{level}@{domain(name)}"]
    answer = world.deliveries[domain(name)][f"by_{level}"]
    if answer is None:  # a lookup that failed for us and for it; it might have succeeded for it
        assert fate.startswith("refused: deferred (TLSA lookup error"), fate
    else:
        assert fate.partition(":")[0] == answer, fate


@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.tlsa or scene.alias])
def test_posttls_finger_says_the_same_of_usable_records(world: World, name: str) -> None:
    said = world.opinions["posttls-finger"][name]
    spoken = re.findall(r"(\w+) TLS connection established to", said)
    match world.tlsa[host(name)]["status"]:
        case "usable" if not SCENES[name].starttls:
            assert spoken == [], said
        case "usable":
            # Trusted: the records match, and nothing says that the MX record is not forged.
            words = {"authenticated": "Verified", "encrypted": "Trusted", "refused": "Untrusted"}
            assert spoken == [words[world.deliveries[domain(name)]["by_dane"]]], said
        case "unusable":
            assert "unusable TLSA RR" in said or "unsupported TLSA certificate usage" in said, said
            assert "Verified" not in said
        case "bogus" | "lookup_failed":
            assert spoken == [] and "DANE TLSA lookup problem" in said, said
        case status:
            assert status == "insecure" and spoken == ["Untrusted"], "without records the program wants a CA file"


def test_a_domain_whose_zone_is_broken_is_unknown_and_no_sender_gets_through(world: World) -> None:
    row = world.domains[BROKEN]
    assert (row["route"], row["dnssec"], row["dns_error"]) == ("unknown", "bogus", "bogus")
    assert BROKEN not in world.deliveries and BROKEN not in world.hosts
    assert all(world.opinions["fates"][f"{level}@{BROKEN}"].startswith("refused: deferred") for level in LEVELS)


def test_nothing_else_was_stored(world: World) -> None:
    assert set(world.domains) == {*map(domain, SCENES), BROKEN}
    assert set(world.hosts) == set(world.tlsa) == set(world.probes) == set(map(host, SCENES))
    assert set(world.deliveries) == set(map(domain, SCENES))
    received = {sha256 for probe in world.probes.values() for sha256 in probe["received_chain"] or ()}
    assert set(world.certificates) == received
    assert len(world.policies) == sum(scene.fetch == "ok" for scene in SCENES.values())
