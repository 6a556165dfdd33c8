"""``python -m electra_jax.config`` lists every key, its type, default and meaning."""

from electra_jax.config.loading import fields


def reference() -> str:
    """One paragraph a key."""
    lines = []
    for key, field in fields():
        kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
        if "Literal" in str(field.annotation) or "|" in str(field.annotation):
            kind = str(field.annotation).replace("typing.", "")
        default = "null" if field.default is None else field.default
        lines.append(f"{key}  ({kind}, default {default})\n    {field.description}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference())
