"""Whatever SRV records and addresses a domain has, what is asked on its account is bounded, and nothing is asked without ground."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import SRV
from crawler.model.rows import Domain, Fallback, FoundBy, LookupStatus, SrvStatus
from crawler.protocols.registry import families, service
from crawler.resolve.services import find_services
from crawler.settings.config import Config

MOST = 2
CONFIG = Config.from_mapping({"protocol": ["mail"], "dns": {"max_srv": MOST}})
LABELS = [service(name).srv for name in families()["mail"]]

statuses = st.sampled_from(list(LookupStatus))
hosts = st.sampled_from([".", "a.example", "b.out.example", "c.example"])
records = st.lists(
    st.tuples(*[st.integers(0, 3)] * 2, st.sampled_from([0, 1, 993, 65_535]), hosts), min_size=1, max_size=5
)
aliases = st.lists(st.sampled_from(["x.example", "y.out.example"]), max_size=1)
Zone = dict[str, tuple[LookupStatus, list[Any], list[str]]]
srv_answers = st.dictionaries(st.sampled_from(LABELS), st.tuples(statuses, records, aliases))
address_answers = st.dictionaries(
    st.sampled_from(["imap", "pop", "smtp", "mail"]), st.tuples(statuses, st.just(["192.0.2.1"]), aliases)
)


class FixedDns:
    """Answers from a table; what is not in it does not exist."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self.asked: list[str] = []

    def begin(self, name: str, rdtype: int) -> asyncio.Future[Answer]:
        self.asked.append(name)
        found = self._zone.get(name.removesuffix("._tcp.d.example" if rdtype == SRV else ".d.example"))
        answer = Answer(name, rdtype, LookupStatus.NXDOMAIN)
        if found is not None:
            status, content, cnames = found
            answer = Answer(name, rdtype, status, "NOERROR", records=content if status == "ok" else [], cnames=cnames)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        future.set_result(answer)
        return future


def looked(zone: Zone, mx: list[str]) -> tuple[Domain, FixedDns]:
    row = Domain(domain="d.example", mx=[{"host": host, "preference": 10} for host in mx])
    dns = FixedDns(zone)

    async def main() -> None:
        await find_services(row, "d.example", cast(DnsClient, dns), CONFIG, lambda name: name.endswith("out.example"))

    asyncio.run(main())
    return row, dns


@settings(max_examples=150, deadline=None)
@given(srv_answers, address_answers, st.lists(st.sampled_from(["mx1.example", "mx2.example"]), max_size=2))
def test_what_is_asked_is_bounded_and_has_its_ground(srv: Zone, addresses: Zone, mx: list[str]) -> None:
    row, dns = looked(srv | addresses, mx)
    states = {(state["protocol"], state["form"]): state for state in row.srv or ()}
    assert len(states) == len(LABELS), "each form of each protocol says how its search went"
    for (protocol, form), state in states.items():
        here = [s for s in row.services or () if (s["protocol"], s["form"]) == (protocol, form)]
        ways = {s["found_by"] for s in here}
        assert len(here) <= MOST and len({(s["host"], s["port"]) for s in here}) == len(here)
        assert all(1 <= s["port"] <= 65_535 and s["host"] != "." and s["reference_names"] for s in here)
        others = [s for key, s in states.items() if key[0] == protocol and key[1] != form]
        match state["status"]:
            case SrvStatus.NAMED:
                assert ways <= {FoundBy.SRV} and (here or state["dropped"])
            case SrvStatus.ABSENT if any(other["status"] != SrvStatus.ABSENT for other in others):
                assert ways <= {FoundBy.SRV_OTHER_FORM} and state["fallback"] is None
            case SrvStatus.ABSENT:
                assert bool(here) is (state["fallback"] == Fallback.FOUND) and ways <= {FoundBy.FALLBACK, FoundBy.MX}
            case _:
                assert here == [] and state["fallback"] is None, "what failed, opted out or is not there leads nowhere"
    assert len(dns.asked) <= len(LABELS) + 2 * (3 * 2 + 3), "so many questions and no more"
