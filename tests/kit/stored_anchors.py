"""The authorities and the leaf of chains that tests judge."""

from __future__ import annotations

from tests.kit.chains import Subject

HOST = "mx.example"
ROOT, MIDDLE, LOWER, OTHER = Subject("Root"), Subject("Middle"), Subject("Lower"), Subject("Other Root")
LEAF = MIDDLE.leaf(HOST)
