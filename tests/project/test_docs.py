"""What the documentation says exists: commands, options, make targets, files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.commands import main as cli

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COMMAND = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?starttls-crawler ([a-z]+)([^#\n]*)", re.MULTILINE)
TARGET = re.compile(r"^([a-z-]+):.*## (.+)$", re.MULTILINE)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command with its parser."""
    (chosen,) = [action for action in cli.build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(chosen.choices)


def code(page: Path) -> str:
    """The fenced blocks of a page, continued lines joined."""
    text = page.read_text("utf-8")
    return "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")


def used() -> Iterator[tuple[Path, str, str]]:
    """Page, command and arguments wherever a page shows the program being called."""
    for page in PAGES:
        for command, arguments in COMMAND.findall(code(page)):
            yield page, command, arguments


def test_every_command_is_shown_in_the_readme() -> None:
    shown = {command for page, command, _ in used() if page.name == "README.md" and page.parent == ROOT}
    assert shown >= set(commands())


def test_commands_and_options_in_the_documentation_exist() -> None:
    known = commands()
    for page, command, arguments in used():
        assert command in known, f"{page.name}: no command {command}"
        options = set(re.findall(r"--[a-z0-9-]+", arguments))
        assert options <= set(known[command]._option_string_actions), f"{page.name}: {command} {arguments}"


@pytest.mark.parametrize("name", commands())
def test_every_command_and_every_option_has_help(name: str) -> None:
    parser = commands()[name]
    assert parser.description
    assert [action.dest for action in parser._actions if not action.help] == []


def test_make_targets_in_the_documentation_exist() -> None:
    targets = {name for name, _ in TARGET.findall((ROOT / "Makefile").read_text("utf-8"))}
    for page in PAGES:
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE):
            assert name in targets, f"{page.name}: make {name}"


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony.split()) == {name for name, _ in TARGET.findall(makefile)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_overview() -> None:
    overview = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert [
        page.name for page in ROOT.glob("docs/*.md") if page.name != "README.md" and page.name not in overview
    ] == []


def test_the_changelog_keeps_its_form() -> None:
    kinds = set(re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Measurement"}


def test_every_installed_version_is_exact_and_without_an_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line)] == []
    assert lines == sorted(lines, key=str.upper)
