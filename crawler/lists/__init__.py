"""A list in any form and packing to targets."""
