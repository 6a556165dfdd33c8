"""Which parameters are those of all layers at once, stacked on a leading axis."""


def is_stacked(name: str) -> bool:
    """Return whether a parameter, by its path, holds those of several layers: ``…/layers/…``, ``[layers, …]``.

    What an optimizer does to one tensor at a time, it must do to each layer of such a one.
    """
    return "layers" in name.split("/")
