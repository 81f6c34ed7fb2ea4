"""The common ground of all rooms: the words, every stored row, names, errors, three-valued logic."""
