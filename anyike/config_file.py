"""From a profile's text and the command line's options to `Settings`, or to an error that says what to change where."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from anyike.config import Settings
from anyike.errors import AnyikeError, ConfigurationError, UsageError

_MAX_SHOWN = 120
_MAY_BE_SECRET = re.compile("password|pass_phrase|secret|form_entries")
"""Names of settings at which a secret itself may stand, by mistake, in place of the way to it."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_REASONS = {
    "model_type": "must be a table of settings",
    "path_type": "must be a file name",
    "tuple_type": "must be a list",
}
"""Where pydantic's words mean Python and not TOML."""


@dataclass(frozen=True, slots=True)
class Override:
    """A setting given on the command line: the option's name for error messages, and the value."""

    option: str
    value: object


def load_settings(text: str, source: str, directory: Path, overrides: Mapping[str, Override]) -> Settings:
    """The settings of a profile with the command line's on top.

    `text` is TOML ("" without a profile), `source` its name for messages, `directory` what relative file names are
    relative to. `overrides` are keyed by dotted setting, such as "tunnel.mtu".

    Raises:
        ConfigurationError: every fault of the profile, one a line.
        UsageError: the profile is good, an option is not.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not valid TOML: {error}") from None
    except ValueError:  # Python's limit of int()
        raise ConfigurationError(f"{source} is not valid TOML: a number has too many digits") from None
    except RecursionError:
        raise ConfigurationError(f"{source} is nested too deeply") from None
    values.setdefault("gateway", {})  # so that its missing host is named
    for key, override in overrides.items():
        section, name = key.split(".")
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table[name] = override.value
    try:
        return Settings.model_validate(values, context={"directory": directory})
    except ValidationError as error:
        raise _explain(error, source, overrides) from None


def _explain(error: ValidationError, source: str, overrides: Mapping[str, Override]) -> AnyikeError:
    in_profile, in_options = [], []
    for fault in error.errors(include_url=False):
        location = fault["loc"]
        override = overrides.get(".".join(map(str, location[:2])))
        if override is not None:
            in_options.append(f"{override.option} {_shown(override.value)}: {_reason(fault)}")
        else:
            in_profile.append(f"{source}: {_describe(location, fault)}")
    if in_profile:
        return ConfigurationError("\n".join(dict.fromkeys(in_profile)))
    return UsageError("\n".join(dict.fromkeys(in_options)))


def _describe(location: tuple[int | str, ...], fault: ErrorDetails) -> str:
    key = _dotted(location)
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "extra_forbidden":
        # The value of a name that we do not know may be a secret: it is not repeated.
        return f"{key} is not a setting; {_allowed_beside(location)}"
    if _may_show_secret(location, fault):
        return f"{key}: {_reason(fault)}"
    return f"{key} = {_shown(fault['input'])}: {_reason(fault)}"


def _may_show_secret(location: tuple[int | str, ...], fault: ErrorDetails) -> bool:
    """Of a table, and of what stands in place of one, we do not know what its values are."""
    is_no_table = fault["type"] == "model_type"
    return is_no_table or _holds_table(fault["input"]) or any(_MAY_BE_SECRET.search(str(part)) for part in location)


def _holds_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_table, value)))


def _reason(fault: ErrorDetails) -> str:
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return _REASONS.get(fault["type"]) or re.sub(r"^\w+ should", "must", fault["msg"])


def _allowed_beside(location: tuple[int | str, ...]) -> str:
    if location[:2] == ("login", "password"):
        return "a password is never kept in a profile: it is asked for, or read with --passwd-on-stdin"
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        model = next(found for found in _models_in(model.model_fields[str(part)].annotation))
    where = f"[{_dotted(location[:-1])}]" if len(location) > 1 else "a profile"
    return f"{where} has {', '.join(model.model_fields)}"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _dotted(location: tuple[int | str, ...]) -> str:
    """The name of a setting as TOML would write it."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _BARE_KEY.fullmatch(part) else _shown(part)}"
    return text.removeprefix(".")


def _shown(value: object) -> str:
    """A value as one line; JSON's escapes keep control characters away from the terminal."""
    try:
        text = json.dumps(value, default=str)
    except ValueError:  # Python's limit of str(), which a hexadecimal integer can exceed
        return "a number with too many digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
