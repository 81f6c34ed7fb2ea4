"""Zone files: the delegated names, in any white space."""

import gzip
from collections.abc import Callable
from pathlib import Path

import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.lists.reader import InputError, read_targets, survey
from tests.kit.lists import read_aloud, targets_of

ZONE = """\
example.\t900\tin\tsoa\tns1.nic.example. hostmaster.nic.example. 1 1800 900 604800 86400
example.\t86400\tin\tns\tns1.nic.example.
0--0.example.\t172800\tin\tns\tns1.host.test.
0--0.example.\t172800\tin\tns\tns2.host.test.
0--0.example.\t86400\tin\tds\t1 13 2 abcdef
ns.0--1.example.\t172800\tin\ta\t192.0.2.1
0--1.example.\t172800\tin\tns\tns.0--1.example.
shop.co.example.\t172800\tin\tns\tns1.host.test.
spf.example.\t900\tin\ttxt\t"a # is no comment here"
#.example.\t900\tin\tds\t1 13 2 abcdef
what is this
xn--bcher-kva.example.\t172800\tin\tns\tns1.host.test.
example.\t900\tin\tsoa\tns1.nic.example. hostmaster.nic.example. 1 1800 900 604800 86400
"""


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_of_a_zone_file_the_delegated_names_are_taken_once_each(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "example.zone"
    path.write_bytes(pack(ZONE.encode()))
    assert [(target.domain, target.problem) for target in read_targets(path)] == [
        ("0--0.example", None),
        ("0--1.example", None),
        ("shop.co.example", None),
        (None, "not a record of a zone file"),
        ("xn--bcher-kva.example", None),
    ]
    assert survey(path).lines == 13
    assert [target.domain for target in read_targets(path, 2)] == ["0--0.example", "0--1.example"]


def test_a_zone_in_capitals_is_a_zone_too(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_text("example.\t900\tIN\tSOA\tns. h. 1 1 1 1 1\na.example.\t900\tIN\tNS\tns.host.test.\n")
    assert [target.domain for target in read_targets(path)] == ["a.example"]


def test_a_zone_without_delegations_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_text("example.\t900\tin\tsoa\tns. h. 1 1 1 1 1\n")
    with pytest.raises(InputError, match="the list is empty"):
        survey(path)


MIXED = """\
example.\t3600\tin\tsoa\tns1.nic.example. h.nic.example. 1 1 1 1 1
a.example.\t3600\tin\tns\tns1.host.test.
b.example. 3600 in ns ns1.host.test.
"""


ROOT_ZONE = """\
.\t\t\t86400\tIN\tSOA\ta.ns.test. hostmaster.ns.test. 2026112600 1800 900 604800 86400
.\t\t\t518400\tIN\tNS\ta.ns.test.
.\t\t\t86400\tIN\tNSEC\talpha. NS SOA RRSIG NSEC DNSKEY
alpha.\t\t\t172800\tIN\tNS\tns1.nic.alpha.
alpha.\t\t\t86400\tIN\tDS\t1 8 2 ABCDEF
ns1.nic.alpha.\t\t172800\tIN\tA\t127.40.0.7
beta.\t\t\t172800\tIN\tNS\tns1.nic.alpha.
"""


BY_HAND = """\
; the zone of a hobbyist
$TTL 1h
$ORIGIN example.
@ IN SOA ns.example. hostmaster.example. ( 2026 ; serial
        1h 15m
        4w 1h )
        NS ns
        IN 1h NS ns2.other.test.
sub     NS ns.sub
ns.sub  A 192.0.2.1
text    TXT "a ; b ( c" "NS"
        NS ns1.host.test.
far.example. 300 NS ns1.host.test.
$ORIGIN deep.example.
x 1h30m IN NS (
    ns1.host.test. )
outside.test. NS ns1.host.test.
$INCLUDE other.zone
"""


@pytest.mark.parametrize(
    ("text", "names", "form"),
    [
        (MIXED, ["a.example", "b.example"], "zone file of example"),
        (ROOT_ZONE, ["alpha", "beta"], "zone file of the root"),
        (BY_HAND, ["sub.example", "text.example", "far.example", "x.deep.example", None, None], "zone file of example"),
    ],
)
def test_a_zone_in_any_white_space_gives_its_delegations_and_no_glue(
    tmp_path: Path, text: str, names: list[str | None], form: str
) -> None:
    found, contents = read_aloud(tmp_path, text)
    assert found == names and contents.form.startswith(form)


OWNERS = st.sampled_from(["", "a", "b", "a.b", "c.example.", "A"])


BLANKS = st.sampled_from([" ", "\t", "   ", "\t\t"])


RECORDS = st.tuples(
    OWNERS, BLANKS, st.sampled_from(["", "60", "1h"]), st.sampled_from(["", "IN"]),
    st.sampled_from(["NS ns.test.", f"DS 1 8 2 {'AB' * 32}", "A 192.0.2.1"]),
)  # fmt: skip


@given(st.lists(RECORDS, max_size=12))
def test_a_zone_is_read_as_dnspython_reads_it(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str, str, str, str]]
) -> None:
    """Owners left out, relative or absolute, in any white space; the library is the oracle."""
    lines = ["$ORIGIN example.", "@ 60 IN SOA ns h 1 1 1 1 1", "@ 60 IN NS ns.test."]
    for owner, blank, ttl, in_class, record in records:
        lines.append(blank.join([owner, *filter(None, [ttl, in_class, record])]))
    text = "\n".join(lines) + "\n"
    zone = dns.zone.from_text(text, check_origin=False, relativize=False)
    owners = {name for name, _ in zone.iterate_rdatasets("NS") if name != zone.origin}
    path = tmp_path_factory.getbasetemp() / "zone"
    path.write_text(text)
    assert {target.domain for target in read_targets(path)} == {n.to_text(True).lower() for n in owners}


@pytest.mark.parametrize("lines", [1_000, 4_000])
def test_origins_that_complete_each_other_do_not_grow_beyond_a_name(tmp_path: Path, lines: int) -> None:
    head = "$ORIGIN com.\n@ SOA a b 1 1 1 1 1\nx NS y\n"
    found = targets_of(tmp_path, head + "$ORIGIN abc\n" * lines + "x NS y\n NS z\nz.net. NS y\n$ORIGIN com.\ny NS y\n")
    assert [target.domain for target in found if target.domain] == ["x.com", "y.com"]
    assert sum(len(target.input or "") for target in found) < 20 * (lines + 10)
    assert any("longer than 255" in str(target.problem) for target in found)
    assert [(t.input, t.problem) for t in found if t.input and "NS" in t.input] == [
        ("x NS y", "below an $ORIGIN that is longer than 255 characters"),
        ("NS z", "of an owner that is longer than 255 characters"),
    ]
