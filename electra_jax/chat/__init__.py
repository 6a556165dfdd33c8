"""A conversation with a model: in a terminal, or from a pipe."""
