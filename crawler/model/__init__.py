"""What all agree on: the words, every stored row, names, errors, three-valued logic."""
