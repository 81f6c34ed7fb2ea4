"""What is stored changes only on purpose: the golden schema and the data dictionary are as records.py says."""

from __future__ import annotations

from dataclasses import fields

import pytest

from crawler.model import rows as records
from crawler.model.vocabulary import ABSENT, ANSWERED, FAILED, LookupStatus
from tools import golden


def test_the_stored_schema_is_the_golden_one() -> None:
    """If the change is meant: `make golden`, and an entry in CHANGELOG.md, under Measurement if numbers move."""
    assert golden.schema() == golden.SCHEMA.read_text("utf-8")


def test_the_data_dictionary_is_up_to_date() -> None:
    """`make golden` writes it."""
    assert golden.data_page() == golden.DICTIONARY.read_text("utf-8")


def test_the_page_of_settings_is_up_to_date() -> None:
    """`make golden` writes it."""
    assert golden.settings_page() == golden.SETTINGS.read_text("utf-8")


@pytest.mark.parametrize("table", records.TABLES)
def test_every_column_may_be_null_and_is_unless_observed(table: str) -> None:
    row = records.TABLES[table]()
    assert {field.name: getattr(row, field.name) for field in fields(row)} == {f.name: None for f in fields(row)}
    assert all(field.nullable for field in records.schema_of(records.TABLES[table]))


def test_words_of_a_column_are_those_of_its_enumeration() -> None:
    """A column that lists its words in the data dictionary lists all of them."""
    listed = {
        ("domains", "route"): records.Route,
        ("domains", "dns_error"): records.DnsError,
        ("domains", "dnssec"): records.Dnssec,
        ("domains", "mta_sts_record"): records.MtaStsRecord,
        ("domains", "mta_sts_fetch"): records.MtaStsFetch,
        ("domains", "mta_sts_mode"): records.MtaStsMode,
        ("domains", "tlsrpt"): records.TlsrptStatus,
        ("hosts", "ipv4_status"): records.LookupStatus,
        ("tlsa", "status"): records.TlsaStatus,
        ("probes", "stage"): records.Stage,
        ("probes", "dane"): records.DaneStatus,
    }
    for (table, name), words in listed.items():
        field = records.schema_of(records.TABLES[table]).field(name)
        assert field.metadata is not None
        assert " ".join(words) in field.metadata[b"doc"].decode(), f"{table}.{name}"


def test_every_end_of_a_look_up_is_an_answer_or_a_failure_or_was_not_asked() -> None:
    assert ABSENT < ANSWERED and not ANSWERED & FAILED
    assert ANSWERED | FAILED | {LookupStatus.NOT_ASKED} == set(LookupStatus)
