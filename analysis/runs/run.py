"""Open one stored run and ask it questions in SQL.

This module reads `DIR/run=ID` and never writes there.  DuckDB scans the Parquet parts under a hard memory limit and
spills to a temporary directory, so a run may be larger than memory. This module returns pandas frames of *counted*
rows, unless the caller's SQL asks for more.

The tables of the contract are views of their own names: `domains hosts tlsa probes certificates
policies`.  A column that an older run lacks is null, a table without parts is empty.
`analysis.sql.deliveries` adds `candidates`, `deliveries` and the units that figures count.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa

from analysis.runs.facts import RunFacts
from analysis.runs.leftovers import working_directory
from analysis.runs.limits import MEMORY_LIMIT
from analysis.sql import deliveries
from crawler.dataset.stored_runs import Choice, choose_run
from crawler.model.errors import CommandFailed, UsageError
from crawler.model.rows import SCHEMA_VERSION, TABLES, schema_of
from crawler.model.schema_versions import RENAMED, REWORDED, STRICT_VALID, ensure_types

#: A column of booleans with nulls would be `object`, on which `&` takes null for false and `~` fails or is wrong.
_NULLABLE: dict[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
}

#: Whatever else DuckDB says comes from the stored parts, or from the machine.
_OUR_FAULT = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)


class NoRoom(CommandFailed):
    """Memory or temporary disk space does not suffice; the message is one line that says what to do."""


class Run(RunFacts):
    """One stored run, opened for reading; a context manager.

    `protocol` chooses whose endpoints are judged; mail is delivered over `smtp`.
    """

    def __init__(self, choice: Choice, *, protocol: str = "smtp", memory_limit: str = MEMORY_LIMIT) -> None:
        super().__init__(choice, protocol)
        self._memory_limit = memory_limit
        self._at_end = ExitStack()
        self._work = work = self._at_end.enter_context(
            working_directory("starttls-analysis-", Path(tempfile.gettempdir()))
        )
        self._built: set[str] = set()
        # A file, not `:memory:`, because tables in a file are compressed and evicted.
        self._database = duckdb.connect(
            str(work / "run.duckdb"),
            config={
                "autoinstall_known_extensions": "false",
                "memory_limit": memory_limit,
                "preserve_insertion_order": "false",
                "temp_directory": str(work / "spill"),
            },
        )
        try:
            with self._asking():
                for name in TABLES:
                    ensure_types((self.path / name).glob("*.parquet"), name)
                    self._view(name)
                for statement in deliveries.views(protocol, self.judged_for):
                    self._database.execute(statement)
                if self.stored.is_whole:
                    self._check_whole()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, data: Path, run_id: str | None = None, **options: Any) -> Run:
        """Open run `run_id` of `data`, or the one that is read by default (`crawler.dataset.stored_runs`).

        `notes` says what is odd about the run, and which others were passed over.  Raises `UsageError`: no such
        directory or run, a manifest or a part that cannot be read, or a finished run whose tables have other numbers
        of rows than its manifest says; `NoRoom`.
        """
        return cls(choose_run(data, run_id), **options)

    def frame(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> pd.DataFrame:
        """The answer to `sql` as a frame; `deliveries` and the tables may be named in it.

        Columns are of pandas' nullable types, so that `&`, `|` and `~` are three-valued: unknown stays `pd.NA`.
        Raises `UsageError` if a stored part turns out unreadable, and `NoRoom`.
        """
        with self._asking():
            self._build_what_is_named(sql)
            table: pa.Table = self._database.sql(sql, params=parameters).to_arrow_table()
        frame: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get)
        return frame

    def execute(self, sql: str, parameters: Any = ()) -> None:
        """Run a statement that makes something in the temporary database."""
        with self._asking():
            self._build_what_is_named(sql)
            self._database.execute(sql, parameters)

    def has(self, table: str) -> bool:
        """Whether `execute` has made a table of that name."""
        return bool(self._database.execute("FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall())

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer to `sql` in pieces, for what is too long to be held at once."""
        with self._asking():
            self._build_what_is_named(sql)
            yield from self._database.cursor().sql(sql).to_arrow_reader(50_000)

    def add_rows(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Append rows to a table made with `execute`."""
        with self._asking():
            self._database.register("rows_to_add", pa.table({name: list(values) for name, values in columns.items()}))
            self._database.execute(f"INSERT INTO {table} SELECT * FROM rows_to_add")
            self._database.unregister("rows_to_add")

    def close(self) -> None:
        """Let go of the database and everything spilled."""
        self._database.close()
        self._at_end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _view(self, name: str) -> None:
        schema = schema_of(TABLES[name])
        self._database.register(f"no_{name}", schema.empty_table())
        self._database.execute(f"CREATE TABLE empty_{name} AS FROM no_{name}")
        self._database.unregister(f"no_{name}")
        rows = f"SELECT * FROM empty_{name}"
        if next((self.path / name).glob("*.parquet"), None) is not None:
            rows += (
                f" UNION ALL BY NAME SELECT {self._columns_by_name_of_today(name)} FROM read_parquet("
                f"{_parts_in(self.path / name)}, union_by_name = true, hive_partitioning = false)"
            )
        if name == "certificates" and not self.stored.is_whole:
            rows = f"SELECT DISTINCT ON (sha256) * FROM ({rows})"  # merged only when the run ends
        if name == "probes":
            rows = f"SELECT * REPLACE ({STRICT_VALID} AS strict_valid) FROM ({rows})"
        self._database.execute(f"CREATE VIEW {name} AS {rows}")

    def _columns_by_name_of_today(self, table: str) -> str:
        """What to select from the parts of a table: `*`, or for a run of an earlier schema its columns renamed."""
        if self.manifest.schema_version == SCHEMA_VERSION:
            return "*"
        parts = f"read_parquet({_parts_in(self.path / table)}, union_by_name = true, hive_partitioning = false)"
        stored = {row[0] for row in self._database.execute(f"DESCRIBE SELECT * FROM {parts}").fetchall()}
        chosen = "*"
        if table in REWORDED and REWORDED[table][0] in stored:
            column, words = REWORDED[table]
            cases = " ".join(f"WHEN '{before}' THEN '{now}'" for before, now in words.items())
            chosen += f" REPLACE (CASE {column} {cases} ELSE {column} END AS {column})"
        renamed = [f"{before} AS {now}" for before, now in RENAMED.get(table, {}).items() if before in stored]
        if renamed:
            chosen += f" RENAME ({', '.join(renamed)})"
        return chosen

    def _check_whole(self) -> None:
        """A finished run holds what its manifest counted; a copy that lacks a part would give confident wrong figures."""
        stated = (self.manifest.counts or {}).get("rows") or {}
        for name in TABLES:
            expected = stated.get(name)
            # All of it, for a result left half read would block the connection.
            ((rows,),) = self._database.execute(f"SELECT count(*) FROM {name}").fetchall()
            if expected is not None and rows != expected:
                why = "the copy is incomplete" if rows < expected else "it holds parts of something else"
                raise UsageError(f"{self.path}: {name} has {rows:,} rows, its manifest says {expected:,}; {why}")

    def _build_what_is_named(self, sql: str) -> None:
        """Make the derived tables that `sql` speaks of, once and only when they are wanted."""
        for table, needs in deliveries.BUILT.items():
            if table in sql and table not in self._built:
                for name in (*needs, table):
                    if name not in self._built:
                        self._database.execute(deliveries.statement(name))
                        self._built.add(name)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Put into words what DuckDB says of the stored parts and of the machine; an error in SQL stays what it is."""
        try:
            yield
        except _OUR_FAULT:
            raise
        except duckdb.OutOfMemoryException as error:
            raise NoRoom(
                f"{self.path}: {self._memory_limit} of memory do not suffice ({_first_line(error)}); "
                "allow more by --memory-limit"
            ) from error
        except duckdb.Error as error:
            if str(self._work) in str(error):
                place = self._work.parent
                raise NoRoom(
                    f"{place}: cannot hold what does not fit into {self._memory_limit} of memory ({_first_line(error)}); "
                    "TMPDIR names another, --memory-limit allows more"
                ) from error
            raise UsageError(f"{self.path}: cannot be read as a run ({_first_line(error)})") from error


def _parts_in(folder: Path) -> str:
    """The parts of a table as SQL: a pattern, or a list where the folder's name allows none.

    DuckDB takes every path for a pattern, and a backslash in one for a separator.
    """
    path = str(folder.absolute())
    if "\\" in path:
        return f"[{', '.join(map(_literal, sorted(map(str, folder.absolute().glob('*.parquet')))))}]"
    return _literal(re.sub(r"[*?[]", r"[\g<0>]", path) + "/*.parquet")


def _literal(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
