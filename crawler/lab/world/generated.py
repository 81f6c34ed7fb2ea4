"""Lists of made-up domains for the lab.

It uses reserved names only (`.example`, `.test`; RFC 2606), so that no line of a
generated list can ever lead to someone's server.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words("""amber ancient arctic autumn blue bold brave bright calm clever coastal copper crimson deep early
    eastern fair first floral forest frozen gentle golden grand green happy hidden high hollow humble inner iron
    ivory jolly kind large late light little lively lucky mellow misty modern new noble northern old open orange
    pale plain proud quick quiet rapid red royal rustic sandy silent silver small smooth snowy solid southern spring
    steady still stone summer sunny swift tall tidy upper velvet violet warm western white wide wild winter wise
    young""")
_SECOND = _words("""acorn anchor apple arrow bakery barn basket beacon bell bird boat book bridge brook cabin candle canyon
    castle cedar cellar chapel cherry circle cliff cloud clover compass corner cottage creek crown dairy dawn desk
    door eagle elm engine falcon farm feather fern field flute forge fountain fox garden gate glacier grove harbour
    harvest hill island ivy kettle lake lamp lantern leaf library lily lion maple market meadow mill mirror moon
    mountain museum oak office orchard otter owl paper park path pearl pepper piano pine planet pond press river
    road robin rose school shore sky spruce star station stream studio sun table temple theatre thistle tower
    trail tree valley village wagon walnut water wheel willow wind window wood workshop""")
_UNDER = ("example", "example", "example", "test", "co.example", "com.example", "ac.test", "city.test")


def generated_domains(n: int, seed: int = 1) -> Iterator[str]:
    """`n` different names, the same for the same seed; a longer list begins like a shorter one."""
    draw = random.Random(f"domains {seed}")
    for number in count(1):
        if number > n:
            return
        words = draw.choice(_FIRST), draw.choice(_SECOND)
        yield f"{'-'.join(words)}-{number}.{draw.choice(_UNDER)}"
