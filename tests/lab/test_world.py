"""The lab's truth: it follows from seed and list alone, covers the vocabulary, and contradicts itself nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.lab.accuracy.policy_list import expected
from crawler.lab.behaviours.policy_list import LISTED, policy_list
from crawler.lab.behaviours.protection import MTA_STS, TLSA
from crawler.lab.behaviours.reporting import TLSRPT
from crawler.lab.behaviours.routes import ROUTES
from crawler.lab.behaviours.shares import PROVIDERS
from crawler.lab.behaviours.vocabulary import HOSTS, HostBehaviour, Port
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.world import World, network, slots
from crawler.lists.reader import read_targets
from crawler.model.names import a_label
from crawler.model.rows import (
    DaneStatus,
    DnsError,
    LookupStatus,
    MtaStsFetch,
    MtaStsMode,
    MtaStsRecord,
    Outcome,
    Route,
    Stage,
    TlsaStatus,
    TlsrptStatus,
    is_conclusive,
)
from crawler.policies.policy_list import parse_policy_list
from tools import golden

LISTS = Path(__file__).resolve().parent.parent.parent / "data" / "lists"
NAMES = list(generated_domains(1_000))
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.builds(
    ".".join, st.tuples(st.sampled_from(["mx1", "mx2", "www", "mail", "edge", "in1"]) | LABEL, LABEL, st.just("test"))
)


def test_members_of_the_policy_list_keep_it_break_it_and_leave_it_open_and_a_sender_could_read_it() -> None:
    world = World(1, NAMES)
    members = [domain for name in NAMES if (domain := world.domain(name)).listed.mode]
    truths = expected(world, members, set())
    for demand in ("tls", "certificate", "kept"):
        assert {verdicts[demand] for _, verdicts in truths.values()} == {True, False, None}
    assert {verdicts["host"] for _, verdicts in truths.values()} == {True, False}
    entries = [(d.name, d.listed, tuple(host for _, host in d.mail_hosts)) for d in members]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    read = parse_policy_list(policy_list(entries, now).encode(), "policy.json")
    assert list(read.policies) == [domain.name for domain in members] and read.unread == ()
    assert read.expires == now + timedelta(days=14) and not read.is_expired(now)
    for domain in members:
        allowed = [read.policies[domain.name].allows(host) for _, host in domain.mail_hosts]
        assert all(allowed) if domain.listed.name != "listed-other-mx" else not any(allowed)


def test_the_same_seed_and_list_give_the_same_world() -> None:
    one, other = World(7, NAMES), World(7, NAMES)
    assert [one.domain(name) for name in NAMES] == [other.domain(name) for name in NAMES]


def test_another_seed_gives_another_world() -> None:
    one, other = World(1, NAMES), World(2, NAMES)
    assert sum(one.domain(name).behaviour is not other.domain(name).behaviour for name in NAMES) > 300


def test_a_name_behaves_alike_whatever_list_it_is_in_unless_it_was_chosen_to_show_something() -> None:
    long, without = World(1, NAMES), World(1)
    differing = [name for name in NAMES if long.domain(name) != without.domain(name)]
    assert len(differing) <= len(ROUTES) + len(HOSTS) + max(len(TLSA), len(MTA_STS), len(TLSRPT))


def test_a_list_of_a_thousand_shows_every_route_and_every_host() -> None:
    world = World(3, NAMES)
    domains = [world.domain(name) for name in NAMES]
    hosts = {host: world.host(host) for domain in domains for _, host in domain.mail_hosts}
    shown = {world.behaviour_at(host, at).name for host in hosts.values() if host for at in host.addresses}
    assert {domain.behaviour.name for domain in domains} == set(ROUTES)
    assert shown == set(HOSTS)
    assert {host.tlsa.name for host in hosts.values() if host} == set(TLSA)
    assert {domain.mta_sts.name for domain in domains} == set(MTA_STS)
    assert {domain.listed.name for domain in domains} == set(LISTED)
    assert {domain.tlsrpt.name for domain in domains} == set(TLSRPT)


def test_every_verdict_on_protection_exists() -> None:
    assert {kind.status for kind in TLSA.values()} == set(TlsaStatus) - {TlsaStatus.NOT_ASKED}
    assert {kind.dane for kind in TLSA.values()} == set(DaneStatus)
    assert {kind.record for kind in MTA_STS.values()} == set(MtaStsRecord)
    assert {kind.fetch for kind in MTA_STS.values()} == {None, *MtaStsFetch}
    assert {kind.mode for kind in MTA_STS.values()} == {None, *MtaStsMode}
    assert {kind.status for kind in TLSRPT.values()} == {None, *TlsrptStatus}


def test_every_outcome_that_a_host_can_cause_exists_at_its_stages() -> None:
    shown = {(behaviour.truth.stage, behaviour.truth.outcome) for behaviour in HOSTS.values()}
    ours = {
        Outcome.SAMPLED_OUT, Outcome.OVER_BUDGET, Outcome.NOT_RUN, Outcome.INTERNAL_ERROR, Outcome.GAVE_UP,
    }  # fmt: skip
    elsewhere = {Outcome.STARTTLS_IMPOSSIBLE}  # no state of SMTP; its transcripts are those of IMAP
    assert {outcome for _, outcome in shown} == set(Outcome) - ours - elsewhere
    assert {stage for stage, _ in shown} == {None, *Stage}
    for outcome in (Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET):
        stages = {stage for stage, ended in shown if ended is outcome}
        late = {Stage.GREETING, Stage.CAPABILITIES, Stage.UPGRADE, Stage.HANDSHAKE, Stage.AFTER_TLS}
        assert stages - {Stage.CONNECT} == late, outcome


def test_every_route_and_every_dns_error_exists() -> None:
    assert {route.route for route in ROUTES.values()} == set(Route) - {Route.INVALID, Route.HOST}
    assert {route.dns_error for route in ROUTES.values()} == {None, *DnsError} - {DnsError.GAVE_UP}


def test_every_tls_version_and_limit_exists() -> None:
    assert {b.truth.tls_version for b in HOSTS.values()} == {None, "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
    limited = {b.truth.stage for b in HOSTS.values() if b.truth.outcome is Outcome.LIMIT_EXCEEDED}
    assert limited == {Stage.GREETING, Stage.CAPABILITIES, Stage.UPGRADE, Stage.HANDSHAKE, Stage.AFTER_TLS}


@pytest.mark.parametrize("behaviour", HOSTS.values(), ids=lambda behaviour: behaviour.name)
def test_the_truth_of_a_behaviour_does_not_contradict_itself(behaviour: HostBehaviour) -> None:
    truth = behaviour.truth
    assert truth.conclusive == is_conclusive(
        truth.stage, truth.outcome, for_good=(truth.starttls_code or 0) >= 500, inside_tls=truth.tls_version is not None
    )
    if truth.conclusive:
        assert truth.negotiated is not None
    if truth.tls_version is None:
        assert truth.tls_group is truth.forward_secret is truth.post_quantum is truth.certificates is None
        assert truth.chain_trusted is truth.name_match is truth.within_validity is None
        assert truth.strict_valid is (False if truth.conclusive else None)
    elif truth.negotiated:
        assert truth.strict_valid == (truth.chain_trusted and truth.name_match and truth.within_validity)
    else:
        assert not truth.strict_valid
    if behaviour.server.port is not Port.OPEN:
        assert truth.stage in (None, Stage.CONNECT)


def test_weights_follow_the_published_figures_that_mix_names() -> None:
    asked = [behaviour for behaviour in HOSTS.values() if behaviour.truth.starttls_offered is not None]
    offered = [behaviour for behaviour in asked if behaviour.truth.starttls_offered]
    done = [behaviour for behaviour in offered if behaviour.truth.outcome is Outcome.OK]
    assert weight(offered) / weight(asked) == pytest.approx(0.97, abs=0.005)
    assert weight(b for b in done if b.truth.post_quantum) / weight(offered) == pytest.approx(0.0026, abs=0.0002)
    assert weight(b for b in done if b.truth.tls_version == "TLSv1.3") / weight(done) == pytest.approx(0.79, abs=0.02)
    assert weight(b for b in done if not b.truth.strict_valid) / weight(done) == pytest.approx(0.2, abs=0.02)


def weight(behaviours: Iterable[HostBehaviour]) -> float:
    """Their shares together."""
    return sum(behaviour.share for behaviour in behaviours)


def test_addresses_of_one_behaviour_stay_in_its_network_and_are_bounded() -> None:
    world = World(1)
    for behaviour in HOSTS.values():
        if behaviour.share and not behaviour.server.address:
            prefix = network(behaviour).removesuffix("0.0/16")
            found = {world._addresses(f"mx1.{name}", behaviour)[0] for name in NAMES}
            assert all(address.startswith(prefix) for address in found)
            assert len(found) <= slots(behaviour)
    assert sum(slots(behaviour) for behaviour in HOSTS.values()) < 16_400


def test_without_ipv6_nobody_has_an_ipv6_address() -> None:
    world = World(1, NAMES, ipv6=False)
    hosts = (world.host(host) for name in NAMES for _, host in world.domain(name).mail_hosts)
    assert not any(":" in address for host in hosts if host for address in host.addresses)


@given(NAME)
def test_every_mail_host_of_every_domain_is_somebody(name: str) -> None:
    world = World(1)
    for _, host in world.domain(name).mail_hosts:
        assert world.host(host) is not None


@given(NAME)
def test_a_mail_host_that_is_itself_listed_is_its_own_mail_host(name: str) -> None:
    world = World(1)
    domain = world.domain(name)
    host = world.host(f"mx1.{name}")
    if (10, f"mx1.{name}") in domain.mx and host is not None and host.status is LookupStatus.OK:
        assert world.domain(f"mx1.{name}").mx == ((0, f"mx1.{name}"),)


def test_names_below_a_domain_that_opted_out_have_opted_out_too() -> None:
    world = World(1, NAMES)
    (domain,) = (
        name for name in NAMES if world.domain(name).route is Route.OPTED_OUT and world.opt_outs(name) == [name]
    )
    assert world.domain(f"www.{domain}").route is Route.OPTED_OUT
    assert world.opt_outs(f"www.{domain}") == [domain]
    assert world.domain(domain).mail_hosts == ()


def test_a_provider_is_shared_by_many_domains() -> None:
    world = World(1, NAMES)
    (largest,) = (provider for provider in PROVIDERS if provider.name == "alpha-mail.example")
    users = [name for name in NAMES if largest.hosts[0] in dict(map(reversed, world.domain(name).mx))]  # type: ignore[call-overload]
    assert len(users) > 100


def test_generated_names_are_reserved_and_different() -> None:
    names = list(generated_domains(5_000, 9))
    assert len(set(names)) == len(names)
    assert all(name.rpartition(".")[2] in ("example", "test") and a_label(name) == name for name in names)


def test_a_longer_list_begins_like_a_shorter_one() -> None:
    assert list(generated_domains(100, 4)) == list(islice(generated_domains(1_000, 4), 100))


def test_the_lists_shipped_with_the_project_are_the_generated_ones() -> None:
    plain = list(read_targets(LISTS / "lab-1000.txt"))
    ranked = list(read_targets(LISTS / "lab-1000-ranked.csv"))
    assert [target.domain for target in plain] == [target.domain for target in ranked] == NAMES
    assert [target.rank for target in ranked] == list(range(1, 1_001))


def test_the_page_about_the_lab_lists_every_behaviour_as_it_is() -> None:
    assert golden.lab_page() == golden.LAB.read_text("utf-8"), "run `make golden`"
