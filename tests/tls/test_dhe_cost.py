"""What a handshake over a prime costs: little over those of RFC 3526 and RFC 7919, which are derived here from their formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crawler.tls.dhe_cost import LIGHT, estimated_seconds


def pi_times_two_to(bits: int) -> int:
    """floor(pi * 2**bits), by Machin's formula."""
    one = 1 << (bits + 64)

    def arctan_of_inverse(x: int) -> int:
        term = total = one // x
        number, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // number)
            number, sign = number + 2, -sign
        return total

    return (4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))) >> 64


def e_times_two_to(bits: int) -> int:
    """floor(e * 2**bits), by its series."""
    term = total = 1 << (bits + 64)
    number = 1
    while term:
        term //= number
        total += term
        number += 1
    return total >> 64


def prime(bits: int, constant: Callable[[int], int], offset: int) -> bytes:
    """2^n - 2^(n-64) - 1 + 2^64 (floor(2^(n-130) c) + offset), as both RFCs have it."""
    number = (1 << bits) - (1 << (bits - 64)) - 1 + ((constant(bits - 130) + offset) << 64)
    return number.to_bytes(bits // 8)


KNOWN = [
    *((pi_times_two_to, bits, x) for bits, x in ((2_048, 124_476), (3_072, 1_690_314), (4_096, 240_904), (6_144, 929_484), (8_192, 4_743_158))),
    *((e_times_two_to, bits, x) for bits, x in ((2_048, 560_316), (3_072, 2_625_351), (4_096, 5_736_041), (6_144, 15_705_020), (8_192, 10_965_728))),
]  # fmt: skip


@pytest.mark.parametrize(("constant", "bits", "offset"), KNOWN)
def test_a_known_prime_costs_a_twentieth_and_only_with_its_generator(
    constant: Callable[[int], int], bits: int, offset: int
) -> None:
    known = prime(bits, constant, offset)
    own = estimated_seconds(known, b"\x05")
    assert own == pytest.approx(0.4 * (bits / 8_192) ** 3)
    assert estimated_seconds(known, b"\x02") == pytest.approx(0.02 * (bits / 8_192) ** 2)
    assert estimated_seconds(known, b"\x02") < own
    assert (estimated_seconds(known, b"\x02") <= LIGHT) is (bits <= 4_096)


def test_no_prime_costs_nothing_and_the_usual_one_is_light() -> None:
    assert estimated_seconds(b"", b"") == 0.0
    assert estimated_seconds(b"\xff" * 256, b"\x02") < LIGHT < estimated_seconds(b"\xff" * 384, b"\x02")
