"""How likely a text is to a network, token by token; each score is a pure function of (network, parameters, rows)."""
