"""A server whose replies are made without a model."""

import threading
from contextlib import contextmanager

from electra_jax import UserError
from electra_jax.chat.web import ChatServer


def answer(turns):
    """What was said, written backwards, and doubts about its first letter."""
    said = turns[-1]
    if "bad" in said:
        raise UserError("that cannot be replied to: say something else")
    text = f"<b>{said[::-1]}</b>"
    return {
        "text": text,
        "proposals": [
            {"text": text, "score": 1.25, "number": None, "judged": {"rtd": -0.5}},
            {"text": "<i>other</i>", "score": None, "number": None, "judged": {"rtd": None}},
        ],
        "retrieved": [{"text": "old", "score": 2, "number": 6, "judged": None}],
        "compared": 2,
        "turns_read": min(len(turns), 2),
        "truncated": False,
        "said": [[said, 0.4]],
        "replied": [[text[0], 0.8], [text[1:], None]],
    }


@contextmanager
def serving(answer=answer):
    """Yield the server, which answers in another thread."""
    server = ChatServer(0)
    thread = threading.Thread(target=server.serve, args=(answer,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
