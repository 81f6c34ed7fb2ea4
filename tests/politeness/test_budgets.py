"""Nobody's share of a run is larger than the mail that goes there: endpoints when planned, seconds while probed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.grouping import SMALLEST_GROUP
from crawler.model.columns import MX
from crawler.model.rows import Endpoint
from crawler.politeness.budgets import EffortBudget, EndpointBudgets, TimeBudget
from crawler.politeness.opt_out_reach import MANY_NAMES
from crawler.politeness.pacing import network_of
from crawler.settings.config import Https, Limits, Pacing, Timeouts, Watch

Domains = dict[str, list[str]]
Hosts = dict[str, list[str]]


def budgets(domains: Domains, hosts: Hosts, salt: bytes = b"salt", **pacing: Any) -> EndpointBudgets:
    made = EndpointBudgets(Pacing(**pacing), salt)
    rows = [[{"host": host, "preference": 10} for host in mail_hosts] for mail_hosts in domains.values()]
    made.add_domains(pa.array([*rows, None, []], MX))
    for host, addresses in hosts.items():
        made.add_host(host, addresses)
    return made


def kept(domains: Domains, hosts: Hosts, **options: Any) -> dict[str, set[str]]:
    made = budgets(domains, hosts, **options)
    return {host: set(made.within(host, addresses)) for host, addresses in hosts.items()}


def flood(name: str, hosts: int, addresses: list[str]) -> tuple[Domains, Hosts]:
    """A domain with many mail hosts, all of them at the same addresses."""
    names = [f"mx{number}.{name}" for number in range(hosts)]
    return {name: names}, dict.fromkeys(names, addresses)


SPREAD = [f"2001:db8:{net:x}::1" for net in range(64)]
ONE_NETWORK = [f"2001:db8:1::{n:x}" for n in range(1, 65)]


def test_the_weight_of_a_host_is_that_of_the_domains_that_send_mail_there() -> None:
    made = budgets({"a.example": ["x", "y"], "b.example": ["x"], "c.example": ["x", "y", "z", "w"]}, {})
    assert [made.weight(host) for host in ("x", "y", "z", "nobody")] == [1.75, 0.75, 0.25, 0.0]


def test_what_one_domain_publishes_is_bounded_whatever_it_publishes() -> None:
    found = kept(*flood("flood.example", 100, SPREAD))
    assert all(found.values()), "every host keeps an endpoint, so that something is known of each"
    assert 100 <= sum(map(len, found.values())) <= 128 + 100


def test_a_host_that_many_domains_share_is_no_flood() -> None:
    names = [f"mx{number}.provider.example" for number in range(20)]
    domains = {f"customer{number}.example": names for number in range(1_000)}
    hosts = dict.fromkeys(names, SPREAD)
    assert kept(domains, hosts) == {name: set(SPREAD) for name in names}


def test_who_names_hosts_of_others_takes_nothing_from_them() -> None:
    domains, hosts = flood("flood.example", 99, SPREAD)
    bank = ["mx1.bank.example", "mx2.bank.example"]
    hosts |= dict.fromkeys(bank, SPREAD[:8])
    domains["flood.example"] += bank
    for number in range(10):
        domains[f"flood{number}.example"] = domains["flood.example"]
    found = kept(domains | {"bank.example": bank}, hosts)
    assert found["mx1.bank.example"] == found["mx2.bank.example"] == set(SPREAD[:8])


def test_many_domains_that_aim_at_one_network_are_bounded_together_and_leave_its_owner_alone() -> None:
    domains: Domains = {"owner.example": ["mx.owner.example"]}
    hosts: Hosts = {"mx.owner.example": ONE_NETWORK[:4]}
    for number in range(40):
        more = flood(f"flood{number}.example", 64, ONE_NETWORK)
        domains, hosts = domains | more[0], hosts | more[1]
    found = kept(domains, hosts, network_endpoints_per_domain=8)
    budget = 256 + 8 * 41
    assert sum(map(len, found.values())) <= 1.3 * budget
    assert found["mx.owner.example"] == set(ONE_NETWORK[:4])


def test_the_page_for_citizens_says_what_the_defaults_do() -> None:
    page = (Path(__file__).parents[2] / "docs" / "citizenship.md").read_text("utf-8")
    pacing = Pacing()
    for words in (
        f"at most {pacing.domain_endpoints} endpoints",
        f"at most {pacing.network_endpoints} endpoints and {pacing.network_endpoints_per_domain} for each",
        f"at most {pacing.total_seconds:g} seconds together and {pacing.total_seconds_per_domain:g} for each",
    ):
        assert words in " ".join(page.split())
    silent = Timeouts().connect - pacing.ordinary_seconds
    for number, endpoints, connections in ((1, "100", "about 38"), (10, "about 576", "about 60")):
        domains: Domains = {}
        hosts: Hosts = {}
        for which in range(number):
            more = flood(f"flood{which}.example", 100, ONE_NETWORK)
            domains, hosts = domains | more[0], hosts | more[1]
        found = sum(map(len, kept(domains, hosts).values()))
        assert abs(found - int(endpoints.split()[-1])) <= (60 if "about" in endpoints else 0)
        seconds = pacing.total_seconds + number * pacing.total_seconds_per_domain
        assert f"about {seconds / silent:.0f}" == connections
        assert f"| {endpoints} | {connections}" in page


WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def test_the_page_for_citizens_states_every_other_rate_as_it_is() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "citizenship.md").read_text("utf-8").split())
    pacing, https, watch = Pacing(), Https(), Watch()
    trips = {4: "fourth"}[pacing.breaker_trips]
    assert pacing.breaker_pause == 60 and pacing.address_pause == 1
    for words in (
        f"{WORDS[pacing.per_network]} to a /24 or /48, {pacing.per_provider} to all hosts of one provider",
        f"not counting the first {WORDS[int(pacing.ordinary_seconds)]} seconds of each",
        f"{WORDS[https.per_address].capitalize()} fetches of MTA-STS policies at once from one address, {https.per_network} from a",
        f"silent {WORDS[https.failures]} times in a row",
        f"may take {https.slow_seconds:g} seconds beyond {WORDS[int(https.ordinary_seconds)]} for each fetch",
        f"{WORDS[pacing.breaker_refusals].capitalize()} refusals of one provider in a row",
        f"left alone for a minute, then one connection feels the way; each time it refuses again the pause doubles, and after the {trips}",
        f"the last {watch.connections} connections of a process have failed in {watch.networks} networks",
        f"for one alarm no more than {watch.asked_again} endpoints are asked in all",
        f"{pacing.names_per_address} names of each address: {2_000 * pacing.names_per_address:,}",
        f"| {pacing.per_provider} | {2_000 * pacing.names_per_address:,} / {pacing.per_provider} conversations",
        f"about {2_000 * pacing.names_per_address / pacing.per_provider * (1 + pacing.address_pause) / 60:.0f} minutes",
        f"more than {MANY_NAMES:,} names of the list",
        f"fewer than {WORDS[SMALLEST_GROUP]} domains as one",
    ):
        assert words in page, words


def test_nobody_can_choose_addresses_that_are_kept() -> None:
    domains, hosts = flood("flood.example", 100, SPREAD)
    choices = Counter(
        address for salt in (b"a", b"b", b"c", b"d") for address in kept(domains, hosts, salt=salt)["mx0.flood.example"]
    )
    assert len(choices) > 1
    assert kept(domains, hosts, salt=b"a") == kept(domains, hosts, salt=b"a"), "but one run has one plan"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 40), st.booleans()), max_size=12))
def test_whatever_domains_publish_each_stays_within_its_share(shapes: list[tuple[int, int, bool]]) -> None:
    domains: Domains = {}
    hosts: Hosts = {}
    for number, (names, addresses, together) in enumerate(shapes):
        own = ONE_NETWORK if together else SPREAD
        more = flood(f"d{number}.example", names, own[:addresses])
        domains, hosts = domains | more[0], hosts | more[1]
    found = kept(domains, hosts, domain_endpoints=16, network_endpoints=30, network_endpoints_per_domain=2)
    for names in domains.values():
        assert sum(len(found[name]) for name in names) <= 16 + len(names)
    assert all(found[host] <= set(addresses) for host, addresses in hosts.items())
    loads = Counter(network_of(address) for addresses in hosts.values() for address in addresses)
    if max(loads.values(), default=0) <= 30 and all(n * a <= 16 for n, a, _ in shapes):
        assert all(found[host] == set(addresses) for host, addresses in hosts.items()), "nothing is cut without need"


def test_time_is_spent_when_connections_took_it_and_more_domains_give_more() -> None:
    time = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=10.0, ordinary_seconds=0.0))
    time.allow("a", 2.5)
    time.take("a", 124.0)
    time.take("b", 99.0)
    assert not time.is_spent("a") and not time.is_spent("b")
    time.take("a", 1.0)
    time.take("b", 1.0)
    assert time.is_spent("a") and time.is_spent("b") and not time.is_spent("c")


def test_ordinary_connections_cost_no_budget_however_many_there_are() -> None:
    """Two thousand at once on a busy machine take seconds each, and that is our own delay."""
    time = TimeBudget(Pacing())
    for _ in range(100_000):
        time.take("provider", 4.9)
    assert not time.is_spent("provider")


def test_processes_divide_the_time_of_a_provider() -> None:
    time = TimeBudget(Pacing(total_seconds=100.0, ordinary_seconds=0.0), processes=4)
    time.take("a", 25.0)
    assert time.is_spent("a")


def test_who_took_much_time_is_remembered_and_others_take_no_memory() -> None:
    time = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=0.0, ordinary_seconds=0.0))
    for provider, seconds in (("slow", 100.0), ("quick", 2.0)):
        time.allow(provider, 0.25)
        time.take(provider, seconds)
    time.forget({"slow": 0.5, "quick": 0.5})
    assert time.is_spent("slow") and not time.is_spent("quick")
    assert set(time._taken) == {"slow"} and not time._allowed and not time._users


def test_what_a_provider_may_take_does_not_grow_with_its_shards() -> None:
    """A host with addresses in 64 shards was allowed the time of its listed domain 64 times."""
    time = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=10.0, ordinary_seconds=0.0), processes=2)
    for _ in range(64):
        time.allow("a", 2.0)
    time.take("a", 59.0)
    assert not time.is_spent("a")
    time.take("a", 1.0)
    assert time.is_spent("a")


def test_a_shard_that_ends_takes_nothing_from_one_that_is_under_way() -> None:
    time = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=10.0, ordinary_seconds=0.0))
    for _ in range(2):
        time.allow("a", 10.0)
    time.forget({"a": 0.5})
    time.take("a", 199.0)
    assert not time.is_spent("a"), "its listed domains count as before"


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), min_size=1, max_size=30))
def test_a_provider_that_stays_below_what_is_remembered_gains_no_more_than_its_budget_again(
    shards: list[tuple[float, int]],
) -> None:
    """Shard after shard took a little less than what was remembered, and all of it was forgotten."""
    time = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=0.0, ordinary_seconds=0.0))
    everywhere, total = sum(endpoints for _, endpoints in shards), 0.0
    for greed, endpoints in shards:
        time.allow("a", 1.0)
        for _ in range(endpoints * 4):
            if not time.is_spent("a"):
                time.take("a", 20 * greed)
                total += 20 * greed
        time.forget({"a": endpoints / everywhere})
    assert total <= 2 * 100.0 + 20.0


def test_the_plan_knows_the_whole_weight_of_a_provider() -> None:
    domains = {"a.example": ["mx1.p.example", "mx2.p.example"], "b.example": ["mx1.p.example", "mx.other.test"]}
    made = budgets(domains, {"mx1.p.example": SPREAD[:3], "mx2.p.example": SPREAD[:2], "mx.other.test": SPREAD[:1]})
    assert made.provider("mx1.p.example") == made.provider("mx2.p.example") == (1.5, 5)
    assert made.provider("mx.other.test") == (0.5, 1)


def with_costly_primes(count: int, providers: int, weight: float, seconds: float, salt: int = 0) -> float:
    """Seconds spent on so many endpoints of so many providers, all with primes that cost so much."""
    budget = EffortBudget(Limits(dh_seconds=1.0, dh_seconds_per_domain=0.2), Pacing())
    return seconds * sum(
        budget.may_spend(
            Endpoint(
                "smtp", f"mx.evil{provider}.test", f"192.0.2.{number}", 25,
                chance=(salt + number) / 1_000, provider_weight=weight, provider_endpoints=count,
            ),
            seconds,
        )
        for provider in range(providers)
        for number in range(count)
    )  # fmt: skip


def test_a_provider_has_so_much_of_our_processor_time_for_large_primes() -> None:
    assert with_costly_primes(1, 1, 1.0, 0.4) == 0.4, "the only endpoint of a domain is affordable"
    assert with_costly_primes(16, 1, 1.0, 0.05) == pytest.approx(0.8)
    spent = [with_costly_primes(100, 1, 1.0, 0.4, salt) for salt in range(1_000, 1_400)]
    assert 0.9 < sum(spent) / len(spent) < 1.5 and max(spent) < 5.0, "1.2 s is what it may have"


def test_a_domain_with_a_hundred_providers_has_no_hundred_times_the_time() -> None:
    """Each had a second of its own, however few domains send mail there."""
    spent = [with_costly_primes(1, 100, 0.01, 0.4, salt) for salt in range(1_000, 1_400)]
    assert sum(spent) / len(spent) < 1.2 / 0.25
    light = TimeBudget(Pacing(total_seconds=100.0, total_seconds_per_domain=10.0, ordinary_seconds=0.0))
    light.allow("a", 0.01)
    light.take("a", 4.2)
    assert light.is_spent("a")


def test_whose_prime_is_affordable_depends_on_no_order() -> None:
    budget = EffortBudget(Limits(), Pacing())
    endpoints = [
        Endpoint("smtp", f"mx{n}.a.test", f"192.0.2.{n}", 25, chance=n / 77, provider_weight=1.0, provider_endpoints=50)
        for n in range(50)
    ]
    forward = [budget.may_spend(endpoint, 0.4) for endpoint in endpoints]
    backward = [EffortBudget(Limits(), Pacing()).may_spend(endpoint, 0.4) for endpoint in reversed(endpoints)]
    assert forward == backward[::-1] and True in forward and False in forward
