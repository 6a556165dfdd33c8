"""Decoding: from the logits of the next token to texts. It knows of no network, only of a `Step`."""
