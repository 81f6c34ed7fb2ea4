"""The house rules about structure, read off the source: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.source import FILES, MODULES, ROOT, imports_of, module_of

#: Storeys of the crawler, lowest first; imports point downward or stay on a storey.  A package stands for all its files.
STOREYS = (
    {
        "crawler",
        "crawler.vocabulary",
        "crawler.records",
        "crawler.schema_versions",
        "crawler.settings",
        "crawler.errors",
    }
    | {"crawler.visible", "crawler.visible_console"}
    | {"crawler.row_weights", "crawler.reporting", "crawler.declared_limits", "crawler.memory_limit"}
    | {"crawler.setting_groups", "crawler.run_settings", "crawler.watch_settings", "crawler.three_valued"}
    | {"crawler.config", "crawler.location", "crawler.stored_manifest", "crawler.stored_runs"},
    {"crawler.names", "crawler.dns.codec", "crawler.dns.lenient", "crawler.route", "crawler.dialogs"}
    | {"crawler.guard", "crawler.der", "crawler.anatomy", "crawler.signatures", "crawler.validity", "crawler.recent"}
    | {"crawler.constraints", "crawler.effort", "crawler.server_purpose"}
    | {
        "crawler.certificates",
        "crawler.certificate_limits",
        "crawler.chain_verdict",
        "crawler.dane",
        "crawler.mta_sts",
        "crawler.tlsrpt",
        "crawler.text_records",
        "crawler.server_flight",
        "crawler.tls_refusals",
        "crawler.client_hello",
        "crawler.policy_list",
    }
    | {"crawler.list_containers", "crawler.list_forms", "crawler.list_parquet"}
    | {"crawler.list_cells", "crawler.list_zone", "crawler.list_survey", "crawler.list_bounds", "crawler.parquet_names"}
    | {"crawler.targets", "crawler.trust", "crawler.strength", "crawler.verdicts"}
    | {"crawler.senders", "crawler.promise", "crawler.listed_domain"},
    {"crawler.dns", "crawler.network", "crawler.tls", "crawler.conversation", "crawler.pacing", "crawler.exclusions"}
    | {"crawler.opt_out_file", "crawler.kept_opt_outs", "crawler.outage", "crawler.witnesses"}
    | {"crawler.budgets", "crawler.network_time", "crawler.opt_out_reach", "crawler.workspace", "crawler.lots"}
    | {
        "crawler.files",
        "crawler.parts",
        "crawler.steps",
        "crawler.shard_output",
        "crawler.storage",
        "crawler.distrust",
        "crawler.merging",
        "crawler.shelf",
        "crawler.policy_fetch",
        "crawler.https_stream",
        "crawler.policy_pacing",
    }
    | {"crawler.object_store"},
    {
        "crawler.lookups",
        "crawler.resolve",
        "crawler.resolve_hosts",
        "crawler.attempt",
        "crawler.sampling",
        "crawler.endpoints",
        "crawler.probe",
        "crawler.probed_shard",
        "crawler.intermediates",
        "crawler.incomplete",
    },
    {
        "crawler.scan",
        "crawler.consent",
        "crawler.opening",
        "crawler.plan",
        "crawler.manifest",
        "crawler.choose_run",
        "crawler.preflight",
        "crawler.pool",
        "crawler.pool_limits",
        "crawler.resolver_watch",
        "crawler.lookout",
        "crawler.scan_request",
        "crawler.instruments",
        "crawler.worker",
        "crawler.worker_process",
        "crawler.quarantine",
        "crawler.division",
        "crawler.given_up",
        "crawler.culprits",
        "crawler.turns",
        "crawler.lean_process",
        "crawler.rejudge",
        "crawler.finished",
        "crawler.tally",
        "crawler.working_copy",
        "crawler.copies",
        "crawler.mirror",
        "crawler.copy_note",
    }
    | {
        "crawler.explain",
        "crawler.explanation",
        "crawler.explained_endpoint",
        "crawler.explained_promises",
        "crawler.doctor",
        "crawler.machine_checks",
        "crawler.named_host",
        "crawler.cluster",
        "crawler.lab",
    },
    {
        "crawler.cli",
        "crawler.arguments",
        "crawler.console",
        "crawler.options",
        "crawler.progress",
        "crawler.commands",
        "crawler.__main__",
    },
)
PURE = STOREYS[0] | STOREYS[1]

#: Modules with which a room would touch a socket, a clock it waits on, or another process.
IO_MODULES = {"anyio", "asyncio", "concurrent", "http", "multiprocessing", "select", "selectors", "signal", "socket"}
IO_MODULES |= {"ssl", "subprocess", "threading", "urllib", "uvloop"}

#: Pure rooms that may touch one of them all the same, each with its reason.
ALLOWED_IO = {
    "crawler.list_parquet": {"subprocess"},  # a bound of memory holds for a whole process
}

BANNED_NAMES = {
    "utils",
    "util",
    "helper",
    "helpers",
    "manager",
    "managers",
    "handler",
    "handlers",
    "info",
    "data2",
    "flag",
}


def room_of(module: str) -> str | None:
    """The entry of STOREYS that a module of the crawler belongs to: the longest that is it or holds it."""
    rooms = [room for storey in STOREYS for room in storey if module == room or module.startswith(f"{room}.")]
    best = max(rooms, key=len, default=None)
    return None if best == "crawler" != module else best


def storey_of(module: str) -> int:
    """Number of the storey of a module of the crawler."""
    room = room_of(module)
    assert room is not None, f"{module} has no storey; give it one in {Path(__file__).name} and docs/architecture.md"
    return next(number for number, storey in enumerate(STOREYS) if room in storey)


CRAWLER = [module for module in MODULES if module.split(".")[0] == "crawler"]
ANALYSIS = [module for module in MODULES if module.split(".")[0] == "analysis"]


@pytest.mark.parametrize("module", CRAWLER)
def test_imports_of_the_crawler_point_downward_only(module: str) -> None:
    upward = [name for name in imports_of(module) if name in CRAWLER and storey_of(name) > storey_of(module)]
    assert upward == []


@pytest.mark.parametrize("module", CRAWLER)
def test_the_crawler_never_imports_the_analysis(module: str) -> None:
    assert [name for name in imports_of(module) if name.split(".")[0] == "analysis"] == []


@pytest.mark.parametrize("module", ANALYSIS)
def test_the_analysis_imports_only_the_vocabulary_and_the_pure_rooms(module: str) -> None:
    impure = [name for name in imports_of(module) if name.split(".")[0] == "crawler" and room_of(name) not in PURE]
    assert impure == []


@pytest.mark.parametrize("module", [module for module in CRAWLER if room_of(module) in PURE])
def test_pure_rooms_know_no_network_and_wait_for_nothing(module: str) -> None:
    # `urllib.parse` takes texts apart and touches nothing.
    names = [name for name in imports_of(module) if not name.startswith("urllib.parse")]
    banned = IO_MODULES - ALLOWED_IO.get(module, set())
    assert [name for name in names if name.split(".")[0] in banned] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    reached: dict[str, set[str]] = {module: {n for n in imports_of(module) if n in MODULES} for module in MODULES}

    def closed(module: str, seen: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in seen:
            return (*seen[seen.index(module) :], module)
        done.add(module)
        rings = (closed(name, (*seen, module)) for name in sorted(reached[module]) if name not in done or name in seen)
        return next((ring for ring in rings if ring), None)

    for module in MODULES:
        done: set[str] = set()
        assert closed(module, ()) is None


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_file_opens_by_saying_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_room_bears_a_name_that_says_nothing(path: Path) -> None:
    assert not BANNED_NAMES & set(path.with_suffix("").name.split("_"))
    assert path.parent.name not in BANNED_NAMES


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_large_room_is_two_rooms(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LARGEST.get(module_of(path), 320)


#: Rooms that may be larger, each with its reason.
LARGEST = {
    "crawler.records": 470,  # every stored column is stated once, and in one place
}


def test_the_source_names_no_place_of_one_machine() -> None:
    """Paths and addresses of the machine it was written on would be lies on any other."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in [
            *FILES,
            *ROOT.glob("tests/**/*.py"),
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("*.md"),
            ROOT / "Makefile",
        ]
        for word in ("/" + "home/", "/" + "root/", "/" + "work/")
        if word in path.read_text("utf-8")
    ]
    assert found == []


def test_modules_of_others_come_from_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[^A-Za-z0-9_.-]", text)[0].lower().replace("_", "-") for text in project["dependencies"]}
    distributions = packages_distributions()
    undeclared = {
        name
        for module in MODULES
        for name in {name.split(".")[0] for name in imports_of(module)}
        - sys.stdlib_module_names
        - {"crawler", "analysis"}
        if not declared & {owner.lower().replace("_", "-") for owner in distributions.get(name, [])}
    }
    # pandas and pyarrow stand on numpy, and hand it on.
    assert undeclared <= {"numpy"}
