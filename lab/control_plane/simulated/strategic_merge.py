"""Strategic merge patch: a merge patch that knows which lists are maps in disguise.

kubectl edit, apply and cordon send it, and so does the official client for a dict. Lists merge by a key
(containers by name); all others, such as args, are replaced whole.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

MERGE_KEYS = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "hostIPs": "ip",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
PORT_KEYS = ("containerPort", "port")  # of a container, of a Service
PRIMITIVE_LISTS = ("finalizers",)
REPLACED_MAPS = ("selector",)  # the budget's selector is replaced whole
DIRECTIVES = ("$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/")


def strategic_merge(target: Json, patch: Json) -> Json:
    """Apply a strategic merge patch to an object; neither is changed."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    result = dict(target)
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            _remove_values(result, key.partition("/")[2], value)
    for key, value in patch.items():
        if not key.startswith(DIRECTIVES):
            _merge_field(result, key, value)
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            _order(result, key.partition("/")[2], order)
    return result


def _merge_field(result: Json, key: str, value: Any) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict) and isinstance(result.get(key), dict) and key not in REPLACED_MAPS:
        result[key] = strategic_merge(result[key], value)
    elif isinstance(value, dict):
        result[key] = strategic_merge({}, value)
    elif isinstance(value, list):
        result[key] = _merge_list(key, result.get(key) or [], value)
    else:
        result[key] = value


def _merge_list(field: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if field in PRIMITIVE_LISTS:
        return current + [value for value in patch if value not in current]
    key = _merge_key(field, [*patch, *current])
    if key is None or any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    result = list(current)
    for item in patch:
        _merge_item(result, key, item)
    return result


def _merge_item(result: list[Any], key: str, item: Json) -> None:
    place = next((index for index, found in enumerate(result) if found.get(key) == item.get(key)), None)
    if item.get("$patch") == "delete":
        if place is not None:
            del result[place]
    elif place is None:
        result.append(strategic_merge({}, item))
    else:
        result[place] = strategic_merge(result[place], item)


def _merge_key(field: str, items: list[Any]) -> str | None:
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    if field == "ports":
        return next((key for key in PORT_KEYS if any(key in item for item in items)), None)
    return MERGE_KEYS.get(field)


def _remove_values(result: Json, field: str, values: list[Any]) -> None:
    if field in result:
        result[field] = [value for value in result[field] if value not in values]


def _order(result: Json, field: str, order: list[Any]) -> None:
    """Put the elements that the patch names into its order; those it does not name stay behind them."""
    items = result.get(field)
    if not items:
        return
    key = _merge_key(field, items)
    wanted = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]

    def rank(item: Any) -> int:
        name = item.get(key) if isinstance(item, dict) else item
        return wanted.index(name) if name in wanted else len(wanted)

    result[field] = sorted(items, key=rank)
