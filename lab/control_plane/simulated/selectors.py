"""Label selectors, in the two forms that Kubernetes has, and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lab.control_plane.simulated.errors import bad_request

Json = dict[str, Any]
Matcher = Callable[[Json], bool]

_TERM = re.compile(r"^\s*(!?)\s*([^\s=!,()]+)\s*(?:(==|=|!=|\bin\b|\bnotin\b)\s*(.*?))?\s*$")


def labels_of(obj: Json) -> dict[str, str]:
    """The object's labels."""
    return obj["metadata"].get("labels") or {}


def matches_selector(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Judge labels by a selector object: none matches nothing, an empty one everything."""
    if selector is None:
        return False
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_expression(term, labels) for term in selector.get("matchExpressions") or ())


def _expression(term: Json, labels: Mapping[str, str]) -> bool:
    key, values = term["key"], term.get("values") or []
    match term["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt":
            return key in labels and int(labels[key]) > int(values[0])
        case "Lt":
            return key in labels and int(labels[key]) < int(values[0])
        case operator:
            raise bad_request(f"{operator!r} is not a valid label selector operator")


def label_matcher(text: str) -> Matcher:
    """Compile a label selector of a query: `a=b,c!=d,e in (f,g),!h,i`."""
    terms = [_term(part) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda obj: all(_expression(term, labels_of(obj)) for term in terms)


def _term(part: str) -> Json:
    match = _TERM.match(part)
    if match is None:
        raise bad_request(f"unable to parse requirement: {part!r}")
    absent, key, operator, value = match.groups()
    if operator is None:
        return {"key": key, "operator": "DoesNotExist" if absent else "Exists"}
    if operator in ("in", "notin"):
        values = [word.strip() for word in value.strip("() ").split(",")]
        return {"key": key, "operator": "In" if operator == "in" else "NotIn", "values": values}
    return {"key": key, "operator": "NotIn" if operator == "!=" else "In", "values": [value]}


def field_matcher(text: str) -> Matcher:
    """Compile a field selector: `spec.nodeName=n1,status.phase!=Running`; an absent field is empty."""
    terms = [_field_term(part) for part in text.split(",") if part.strip()]
    return lambda obj: all((_field(obj, path) == value) is wanted for path, value, wanted in terms)


def _field_term(part: str) -> tuple[str, str, bool]:
    for operator, wanted in (("!=", False), ("==", True), ("=", True)):
        if operator in part:
            path, value = part.split(operator, 1)
            return path.strip(), value.strip(), wanted
    raise bad_request(f"invalid field selector: {part!r}")


def _field(obj: Json, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
