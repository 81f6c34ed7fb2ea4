"""Parquet files made byte by byte, so that their sizes can lie or expand as no writer would have them.

The footer and the page headers are Thrift structures in the compact protocol; field numbers are those of
`parquet.thrift` of the Parquet format.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

MAGIC = b"PAR1"

#: Thrift's compact protocol: kinds of fields and of list elements.
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

UNCOMPRESSED, ZSTD = 0, 6
PLAIN, RLE, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 3, 7, 8
INT64, BYTE_ARRAY = 2, 6


def varint(number: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first (LEB128)."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


@dataclass(frozen=True)
class Number:
    """A signed number of 32 or 64 bits, in zigzag."""

    value: int
    kind: int = _I32

    def wire(self) -> bytes:
        return varint(self.value << 1 if self.value >= 0 else (-self.value << 1) - 1)


@dataclass(frozen=True)
class Text:
    """Bytes behind their length."""

    value: bytes
    kind: int = _BINARY

    def wire(self) -> bytes:
        return varint(len(self.value)) + self.value


@dataclass(frozen=True)
class Struct:
    """Fields by their numbers."""

    fields: dict[int, Number | Text | Struct | Sequence_]
    kind: int = _STRUCT

    def wire(self) -> bytes:
        made, last = bytearray(), 0
        for number, value in sorted(self.fields.items()):
            made += bytes([(number - last) << 4 | value.kind]) + value.wire()
            last = number
        return bytes(made) + b"\0"


@dataclass(frozen=True)
class Sequence_:
    """A list; `claimed` is how many elements it says that it has."""

    members: Sequence[Number | Text | Struct]
    claimed: int | None = None
    element: int = _STRUCT
    kind: int = _LIST

    def wire(self) -> bytes:
        count = len(self.members) if self.claimed is None else self.claimed
        element = self.members[0].kind if self.members else self.element
        head = bytes([count << 4 | element]) if count < 15 else bytes([0xF0 | element]) + varint(count)
        return head + b"".join(member.wire() for member in self.members)


def long(value: int) -> Number:
    """A number of 64 bits."""
    return Number(value, _I64)


def page(
    plain: bytes,
    values: int,
    *,
    encoding: int = PLAIN,
    dictionary: bool = False,
    claimed: int | None = None,
    packed: bytes = b"",
) -> bytes:
    """A page compressed with zstd (`packed`, if it is so already); `claimed` is how large it says that it is unpacked."""
    packed = packed or zstandard.ZstdCompressor(level=19).compress(plain)
    fields: dict[int, Number | Text | Struct | Sequence_] = {
        1: Number(2 if dictionary else 0),
        2: Number(len(plain) if claimed is None else claimed),
        3: Number(len(packed)),
    }
    if dictionary:
        fields[7] = Struct({1: Number(values), 2: Number(PLAIN)})
    else:
        fields[5] = Struct({1: Number(values), 2: Number(encoding), 3: Number(RLE), 4: Number(RLE)})
    return Struct(fields).wire() + packed


def strings(*values: bytes) -> bytes:
    """Values of a text column as PLAIN has them."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def same_index(index: int, values: int) -> bytes:
    """So many references to one entry of a dictionary, as one run of the hybrid of runs and bits."""
    return b"\x08" + varint(values << 1) + bytes([index])


def column(name: str, *, optional: bool = False, kind: int = BYTE_ARRAY) -> Struct:
    """A leaf of the schema."""
    fields: dict[int, Number | Text | Struct | Sequence_] = {
        1: Number(kind),
        3: Number(int(optional)),
        4: Text(name.encode()),
    }
    return Struct(fields | ({6: Number(0)} if kind == BYTE_ARRAY else {}))


def group(name: str, children: int) -> Struct:
    """A group of the schema."""
    return Struct({3: Number(0), 4: Text(name.encode()), 5: Number(children)})


def chunk(
    path: Sequence[str], pages: Sequence[bytes], rows: int, *, has_dictionary: bool = False
) -> tuple[Struct, bytes]:
    """The description of a column's pages, which stand behind the magic number, and the pages."""
    data = b"".join(pages)
    first = len(MAGIC)
    meta: dict[int, Number | Text | Struct | Sequence_] = {
        1: Number(BYTE_ARRAY),
        2: Sequence_([Number(PLAIN)]),
        3: Sequence_([Text(part.encode()) for part in path]),
        4: Number(ZSTD),
        5: long(rows),
        6: long(len(data)),
        7: long(len(data)),
        9: long(first + len(pages[0]) if has_dictionary else first),
    }
    if has_dictionary:
        meta[11] = long(first)
    return Struct({2: long(first), 3: Struct(meta)}), data


def footer(
    schema: Sequence[Struct], chunks: Sequence[Struct], rows: int, *, claimed_groups: int | None = None
) -> bytes:
    """The metadata of a file with one row group."""
    groups = [Struct({1: Sequence_(chunks), 2: long(1000), 3: long(rows)})] if chunks else []
    return Struct({1: Number(2), 2: Sequence_(schema), 3: long(rows), 4: Sequence_(groups, claimed_groups)}).wire()


def file(data: bytes, metadata: bytes, *, claimed: int | None = None) -> bytes:
    """The whole; `claimed` is how long the footer says that it is."""
    return MAGIC + data + metadata + struct.pack("<I", len(metadata) if claimed is None else claimed) + MAGIC


def one_column(
    pages: Sequence[bytes], rows: int, *, has_dictionary: bool = False, optional: bool = False, name: str = "domain"
) -> bytes:
    """A file with one text column."""
    described, data = chunk([name], pages, rows, has_dictionary=has_dictionary)
    return file(data, footer([group("schema", 1), column(name, optional=optional)], [described], rows))
