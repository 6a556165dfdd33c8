"""A label that tells how it is looked for."""


class ComparedLabel(str):
    """Counts how often one is compared with another."""

    count = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        type(self).count += 1
        return str.__eq__(self, other)
