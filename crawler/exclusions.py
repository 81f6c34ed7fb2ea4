"""Who must not be contacted: special-purpose address space, and those who asked us not to.

Rule of this room: it answers for one name or address at a time and opens nothing.  `network.py`
asks it again for the address really used, whatever earlier stages decided.
"""
