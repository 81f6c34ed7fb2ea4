"""How a column of a stored row is declared: its Arrow type and its sentence."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pyarrow as pa

TEXT = pa.string()
TEXTS = pa.list_(pa.string())
FLAG = pa.bool_()
SMALL = pa.int16()
INT = pa.int32()
LONG = pa.int64()
MILLISECONDS = pa.int32()
TIME = pa.timestamp("us", tz="UTC")
BINARY = pa.binary()
MX = pa.list_(pa.struct([("host", TEXT), ("preference", INT)]))
SERVICES = pa.list_(
    pa.struct(
        [
            ("protocol", TEXT), ("form", TEXT), ("host", TEXT), ("port", INT), ("found_by", TEXT),
            ("priority", INT), ("weight", INT), ("reference_names", TEXTS),
        ]
    )
)  # fmt: skip
SRV = pa.list_(
    pa.struct(
        [
            ("protocol", TEXT), ("form", TEXT), ("status", TEXT), ("dnssec", TEXT), ("cnames", TEXTS), ("dropped", INT),
            ("fallback", TEXT),
        ]
    )
)  # fmt: skip
ASKED = pa.list_(
    pa.struct(
        [
            ("protocol", TEXT), ("form", TEXT), ("port", INT), ("found_by", TEXTS), ("domains", INT),
            ("reference_names", TEXTS),
        ]
    )
)  # fmt: skip
TLSA_RECORDS = pa.list_(
    pa.struct([("usage", SMALL), ("selector", SMALL), ("matching", SMALL), ("data", BINARY), ("usable", FLAG)])
)
ATTEMPTS = pa.list_(pa.struct([("started_at", TIME), ("stage", TEXT), ("outcome", TEXT), ("reply_code", SMALL)]))


def column(kind: pa.DataType, doc: str, *, default: Any = None) -> Any:
    """Declare a stored column: its Arrow type and the sentence that the data dictionary prints."""
    return field(default=default, metadata={"type": kind, "doc": doc})
