"""The networks, as small Linen modules over pure functions."""
