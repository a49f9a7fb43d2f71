"""Settings declared once, as a frozen dataclass: read from text, checked, listed and written as JSON."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from modicum.errors import ConfigError

Settings = TypeVar("Settings")
_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True, slots=True)
class Help:
    """What a setting is, as a part of its annotation: ``epochs: Annotated[int, Help("passes over the data"), Ge(1)]``.

    Args:
        text: a few words for a table of settings.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting as a table shows it."""

    name: str
    help: str
    allowed: str  # in words
    default: str  # as one would type it


def entries(defaults: object) -> Iterator[Entry]:
    """List the settings of a dataclass with the values of an instance."""
    for name, hint in _hints(defaults).items():
        helped = " ".join(mark.text for mark in _marks(hint) if isinstance(mark, Help))
        yield Entry(name, helped, _allowed(hint), as_text(getattr(defaults, name)))


def change(
    defaults: Settings, given: Mapping[str, object], *, owner: str = "This", write: str = "--option"
) -> Settings:
    """Replace settings by others, which are text where they were typed."""
    hints, values = _hints(defaults), dict[str, Any]()
    for name, value in given.items():
        if name not in hints:
            known = ", ".join(f"{entry.name}={entry.default}" for entry in entries(defaults))
            raise ConfigError(
                f"{owner} has no option {name!r}.",
                hint=f"Use one of these, here with their defaults: {known}." if known else "Leave it out.",
            )
        default = as_text(getattr(defaults, name))
        values[name] = _valid(name, hints[name], value, f"Write {write} {name}={default}")
    return dataclasses.replace(defaults, **values) if values else defaults  # type: ignore[type-var]


def refuse_idle(settings: object, defaults: object, names: Sequence[str], *, where: str, hint: str = "") -> None:
    """Refuse settings that were changed where they do nothing."""
    for name in names:
        value = getattr(settings, name)
        if value != getattr(defaults, name):
            raise ConfigError(f"{name}={as_text(value)} does nothing {where}.", hint=hint or "Leave it out.")


@dataclass(frozen=True, slots=True)
class Checked:
    """A base of settings that refuses what their annotations do not allow, as `change` does."""

    def __post_init__(self) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, hint in _hints(self).items():
            value = _valid(name, hint, getattr(self, name), f"Write {as_text(defaults[name])}")
            object.__setattr__(self, name, value)


def _valid(name: str, hint: Any, value: object, write: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(_parts(hint, value))
    except ValidationError as error:
        raise ConfigError(
            f"{name} must be {_allowed(hint)}, got {value!r}.",
            hint=f"{write}, or leave it out: that is the default.",
        ) from error


def as_json(settings: object) -> Any:
    """Give settings as JSON has them; None for none."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(settings)).dump_python(settings, mode="json")


def as_texts(settings: object) -> dict[str, str]:
    """Give settings as one would type them."""
    return {name: as_text(getattr(settings, name)) for name in _hints(settings)}


def as_text(value: object) -> str:
    """Give a value as one would type it."""
    if value is None:
        return "none"
    if isinstance(value, tuple | list):  # a list where JSON was read
        return ",".join(map(as_text, value))  # pyright: ignore[reportUnknownArgumentType]
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _hints(settings: object) -> dict[str, Any]:
    return {} if settings is None else typing.get_type_hints(type(settings), include_extras=True)


def _marks(hint: Any) -> tuple[Any, ...]:
    # A pydantic Field holds its bounds as annotated-types, too.
    marks = hint.__metadata__ if get_origin(hint) is Annotated else ()
    return tuple(part for mark in marks for part in getattr(mark, "metadata", (mark,)))


def _plain(hint: Any) -> Any:
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def _parts(hint: Any, value: object) -> object:
    plain = _plain(hint)
    if value == "none" and NoneType in get_args(plain):
        return None
    return value.split(",") if isinstance(value, str) and get_origin(plain) is tuple else value


def _allowed(hint: Any) -> str:
    plain, marks = _plain(hint), _marks(hint)
    if get_origin(plain) is Literal:
        return f"one of {', '.join(map(str, get_args(plain)))}"
    if get_origin(plain) is tuple:
        return f"{_allowed(get_args(plain)[0])}, or several with commas between them"
    kinds = [kind for kind in get_args(plain) or (plain,) if kind is not NoneType]
    words = " or ".join(_WORDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
    bounds = {name: getattr(mark, name) for mark in marks for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
    for name, phrase in (("gt", "above {}"), ("ge", "from {}"), ("le", "to {}"), ("lt", "to less than {}")):
        if name in bounds:
            words += f" {phrase.format(as_text(bounds[name]))}"
    if "ge" in bounds and not {"le", "lt"} & set(bounds):
        words += " on"
    return words + (" or none" if NoneType in get_args(plain) else "")
