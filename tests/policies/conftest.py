"""A trust store for the chains of tests/kit/dane_records.py."""

from __future__ import annotations

import pytest

from crawler.certificates.trust_store import TrustStore
from tests.kit.chains import Subject, pem


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    """Knows an anchor that none of these chains leads to."""
    path = tmp_path_factory.mktemp("dane") / "roots.pem"
    path.write_text(pem(Subject("Elsewhere").root()))
    return TrustStore(str(path))
