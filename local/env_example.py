"""conf/.env.example, written from the settings themselves: `python -m local env-example` prints it."""

from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from conf.settings import Settings, variable

HEAD = """\
# Every setting, with its default. Copy to .env in the repository's folder and uncomment what you change; the
# environment wins over .env. Written by `python -m local env-example > conf/.env.example`; a test keeps it so.
"""


def env_example() -> str:
    """The text of the file: a comment, then the variable with its default, commented out."""
    return HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        yield f"\n# {field.description}\n#{variable(name)}={_shown(field.default)}\n"


def _shown(default: Any) -> str:
    if default is None or default is PydanticUndefined:
        return ""
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)
