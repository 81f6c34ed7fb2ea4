"""Texts derived from crawler/records.py: the golden schema and the data dictionary.  `make golden` writes them anew."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pyarrow as pa

from crawler import records

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "tests" / "golden" / "schema.json"
DICTIONARY = ROOT / "docs" / "data.md"
MARK = "<!-- From here on written by `make golden` from crawler/records.py; edit that. -->\n"


def schema() -> str:
    """Name and Arrow type of every stored column, and every word of the vocabulary."""
    tables = {
        table: {field.name: str(field.type) for field in records.schema_of(row)}
        for table, row in records.TABLES.items()
    }
    words = {kind.__name__: [str(word) for word in kind] for kind in vocabulary()}
    content = {"schema_version": records.SCHEMA_VERSION, "tables": tables, "vocabulary": words}
    return json.dumps(content, indent=2) + "\n"


def vocabulary() -> list[type[records.StrEnum]]:
    """The enumerations of records.py, in the order in which it states them."""
    return [
        value
        for value in vars(records).values()
        if isinstance(value, type) and issubclass(value, records.StrEnum) and value is not records.StrEnum
    ]


def dictionary() -> str:
    """One table of Markdown for each stored table."""
    lines = []
    for table, row in records.TABLES.items():
        lines += [f"## `{table}`", "", (row.__doc__ or "").strip(), "", "| column | type | meaning |", "|---|---|---|"]
        for field in records.schema_of(row):
            assert field.metadata is not None
            lines.append(f"| `{field.name}` | {kind_of(field.type)} | {field.metadata[b'doc'].decode()} |")
        lines.append("")
    lines += ["## Words", ""]
    for kind in vocabulary():
        lines += [f"**{kind.__name__}**: {(kind.__doc__ or '').strip()}", ""]
        lines += [f"- `{word}`" + (f": {meaning}" if meaning else "") for word, meaning in meanings(kind).items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def meanings(kind: type[records.StrEnum]) -> dict[str, str]:
    """Each word of an enumeration with the `#:` comment that stands behind it, empty if none does."""
    found = re.findall(r'^    [A-Z0-9_]+ = "(\w+)"(?:  #: (.+))?$', inspect.getsource(kind), re.MULTILINE)
    assert [word for word, _ in found] == [str(word) for word in kind]
    return dict(found)


def kind_of(kind: pa.DataType) -> str:
    """An Arrow type in a reader's words."""
    if pa.types.is_list(kind):
        return f"list of {kind_of(kind.value_type)}"
    if pa.types.is_struct(kind):
        return (
            "(" + ", ".join(f"{kind.field(i).name} {kind_of(kind.field(i).type)}" for i in range(kind.num_fields)) + ")"
        )
    return {"string": "text", "bool": "boolean", "timestamp[us, tz=UTC]": "timestamp (µs, UTC)"}.get(
        str(kind), str(kind)
    )


def data_page() -> str:
    """docs/data.md with its derived half as it should be."""
    return DICTIONARY.read_text("utf-8").partition(MARK)[0] + MARK + "\n" + dictionary()


if __name__ == "__main__":
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(schema(), "utf-8")
    DICTIONARY.write_text(data_page(), "utf-8")
