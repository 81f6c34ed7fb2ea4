"""An opt-out that takes much of a list with it is heeded, and said."""

from __future__ import annotations

from pathlib import Path

from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import PROBES
from crawler.dataset.stored_manifest import Manifest
from crawler.model.rows import Domain, Host, MailHost
from crawler.politeness.opt_out_file import read_opt_outs
from crawler.politeness.opt_out_reach import Reach
from crawler.scan.plan import cut_endpoints
from crawler.settings.config import Config
from tests.kit.plans import SIGNATURE, cut, put


def reach_of(tmp_path: Path, content: str) -> Reach:
    (tmp_path / "opt-outs").write_text(content)
    return Reach(read_opt_outs(tmp_path / "opt-outs"))


def test_entries_that_reach_many_names_are_told_and_others_are_not(tmp_path: Path) -> None:
    reach = reach_of(tmp_path, "blogs.example\nfew.example\nnobody.example\n")
    assert reach
    reach.add_domains([*(f"n{n}.blogs.example" for n in range(1_001)), None, "other.example"])
    reach.add_domains([f"n{n}.few.example" for n in range(1_000)])
    assert reach.far() == [{"entry": "blogs.example", "listed_names": 1_001, "names_with_mail_there": 0}]
    (line,) = reach.lines()
    assert "the opt-out blogs.example covers 1,001 listed names" in line


def test_without_domains_that_opted_out_there_is_nothing_to_count(tmp_path: Path) -> None:
    assert not reach_of(tmp_path, "192.0.2.0/24\n") and reach_of(tmp_path, "192.0.2.0/24\n").far() == []


def test_the_domains_of_a_provider_are_counted_by_its_mail_hosts_and_their_aliases(tmp_path: Path) -> None:
    """One customer's mailbox given as an opt-out takes every other customer's mail hosts with it."""
    run = RunDirectory(tmp_path / "run=test")
    run.path.mkdir()
    run.make_directories(SIGNATURE)
    run.write_manifest(Manifest.of({"run": "test", "config_sha256": "00"}))
    pair = [{"host": f"mx{n}.provider.example", "preference": n} for n in (1, 2)]
    alias = [{"host": "mail.reseller.example", "preference": 1}]
    domains = [Domain(domain=f"a{n}.example", mx=pair) for n in range(900)]
    domains += [Domain(domain=f"b{n}.example", mx=alias) for n in range(300)]
    domains += [Domain(domain="provider.example", mx=pair), Domain(domain="c.example", mx=[]), Domain()]
    put(run, "domains", "domains-0000", Domain, domains)
    hosts = [Host(host=f"mx{n}.provider.example", addresses=["192.0.2.1"], cnames=[]) for n in (1, 2)]
    hosts += [
        Host(host="mail.reseller.example", addresses=["192.0.2.2"], cnames=["edge.cdn.example", "mx1.provider.example"])
    ]
    put(run, "hosts", "hosts-0000", Host, hosts)
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    reach = reach_of(tmp_path, "anna@provider.example\nreseller.example\n")
    cut_endpoints(run, Config(ehlo_name="probe.example"), 1, lambda rows: None, reach)
    assert reach.far() == [{"entry": "provider.example", "listed_names": 1, "names_with_mail_there": 1_201}]
    endpoints = [row for rows in cut(run, PROBES).values() for row in rows]
    assert {row.host: row.aliases for row in endpoints}["mail.reseller.example"] == hosts[-1].cnames
