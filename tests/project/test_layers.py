"""The house rules about structure, read off the source: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.kit.source import FILES, MODULES, ROOT, imports_of, module_of

PAGE = ROOT / "docs" / "architecture.md"
#: Rooms of the crawler, lowest first, read off the table in docs/architecture.md; that table is the only list of them.
ROOMS = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)[::-1]

#: Rooms and modules that know no network and wait for nothing.
PURE = ("model", "settings", "lists", "tls", "certificates", "policies", "protocols", "dns.codec", "dns.lenient")
PURE += ("resolve.routing", "object_store.url", "dataset.stored_manifest", "dataset.stored_runs", "explain.list_text")

#: Modules with which a room would touch a socket, a clock it waits on, or another process.
IO_MODULES = {"anyio", "asyncio", "concurrent", "http", "multiprocessing", "select", "selectors", "signal", "socket"}
IO_MODULES |= {"ssl", "subprocess", "threading", "urllib", "uvloop"}

#: Pure rooms that may touch one of them all the same, each with its reason.
ALLOWED_IO = {
    "crawler.lists.parquet": {"subprocess"},  # a bound of memory holds for a whole process
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


CRAWLER = [module for module in MODULES if module.split(".")[0] == "crawler"]
ANALYSIS = [module for module in MODULES if module.split(".")[0] == "analysis"]


def room_of(module: str) -> str:
    """The room of a module of the crawler; "" for the package itself and `python -m crawler`, which belong to none."""
    return "" if module in ("crawler", "crawler.__main__") else module.split(".")[1]


def is_pure(module: str) -> bool:
    """Whether a module of the crawler is one of PURE, or in one of them."""
    return module == "crawler" or any(f"{module}.".startswith(f"crawler.{room}.") for room in PURE)


def test_every_module_of_the_crawler_is_in_a_room_of_the_table_in_the_page_about_the_architecture() -> None:
    assert {room_of(module) for module in CRAWLER} - {""} == set(ROOMS)
    assert 1 < len(ROOMS) == len(set(ROOMS)) <= 20


def test_a_room_of_the_crawler_imports_only_rooms_below_it() -> None:
    height = {room: number for number, room in enumerate(["", *ROOMS])}
    upward = [
        f"{module} imports {name}"
        for module in CRAWLER
        if module != "crawler.__main__"
        for name in imports_of(module)
        if name in CRAWLER and height[room_of(name)] > height[room_of(module)]
    ]
    assert upward == []


def test_no_two_rooms_beside_each_other_import_each_other_however_many_are_between() -> None:
    """The same for rooms inside rooms, and for the analysis, whose order no table states."""
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    arrows: dict[str, set[str]] = {package: set() for package in packages}
    for module in MODULES:
        for name in imports_of(module):
            mine, theirs = module.split("."), name.split(".")
            common = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
            one, other = ".".join(mine[: common + 1]), ".".join(theirs[: common + 1])
            if common and one in packages and other in packages:
                arrows[one].add(other)

    def reached(package: str) -> set[str]:
        found, ahead = set[str](), [package]
        while ahead:
            new = arrows[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    assert [package for package in sorted(packages) if package in reached(package)] == []


def test_the_crawler_never_imports_the_analysis() -> None:
    assert [m for m in CRAWLER if any(name.split(".")[0] == "analysis" for name in imports_of(m))] == []


def test_the_analysis_and_the_pure_rooms_import_only_pure_rooms_of_the_crawler() -> None:
    impure = [
        f"{module} imports {name}"
        for module in [*ANALYSIS, *filter(is_pure, CRAWLER)]
        for name in imports_of(module)
        if name.split(".")[0] == "crawler" and not is_pure(name)
    ]
    assert impure == []


def test_pure_rooms_know_no_network_and_wait_for_nothing() -> None:
    found = [
        f"{module} imports {name}"
        for module in filter(is_pure, CRAWLER)
        for name in imports_of(module)
        # `urllib.parse` takes texts apart and touches nothing.
        if name.split(".")[0] in IO_MODULES - ALLOWED_IO.get(module, set()) and not name.startswith("urllib.parse")
    ]
    assert found == []


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
    "crawler.model.rows": 490,  # every stored column is stated once, and in one place
}


def test_the_source_names_no_place_of_one_machine() -> None:
    """Paths and addresses of the machine it was written on would be lies on any other."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in [
            *FILES,
            *ROOT.glob("tests/**/*.py"),
            *ROOT.glob("tools/**/*.py"),
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("*.md"),
            ROOT / "Makefile",
        ]
        for word in ("/" + "home/", "/" + "root/", "/" + "work/")
        if word in path.read_text("utf-8")
    ]
    assert found == []


def _named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", text)[0].lower().replace("_", "-") for text in requirements}


@pytest.mark.parametrize("package", ["crawler", "analysis"])
def test_modules_of_others_come_from_declared_dependencies(package: str) -> None:
    """Those of the crawler from what is installed always, those of the analysis from its extra as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = _named(project["dependencies"])
    if package == "analysis":
        declared |= _named(project["optional-dependencies"]["analysis"])
    distributions = packages_distributions()
    undeclared = {
        name
        for module in (CRAWLER if package == "crawler" else ANALYSIS)
        for name in {name.split(".")[0] for name in imports_of(module)}
        - sys.stdlib_module_names
        - {"crawler", "analysis"}
        if not declared & {owner.lower().replace("_", "-") for owner in distributions.get(name, [])}
    }
    # pandas stands on numpy, and hands it on.
    assert undeclared <= ({"numpy"} if package == "analysis" else set())
