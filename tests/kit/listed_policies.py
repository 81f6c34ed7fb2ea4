"""A policy list, made up."""

from __future__ import annotations

import json
from typing import Any

from crawler.policies.policy_list import PolicyList, parse_policy_list


def policy_list(**entry: Any) -> PolicyList:
    """A list that names example.org, unless `entry` is empty."""
    policies = {"example.org": {"mode": "enforce"} | entry} if entry else {}
    top = {"author": "Somebody", "expires": "2026-01-15T00:00:00Z", "policies": policies}
    return parse_policy_list(json.dumps(top).encode(), "policy.json")
