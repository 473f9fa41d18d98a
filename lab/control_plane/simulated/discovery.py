"""What kubectl and clients ask before they ask for objects: groups, kinds, versions, and a stub of the schema.

The schema says one thing: that PATCH takes `fieldValidation` and `dryRun`, which kubectl looks up before it
applies.
"""

from __future__ import annotations

from typing import Any

from lab.control_plane.simulated.resources import Catalogue, Resource

Json = dict[str, Any]

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.4",
    "gitCommit": "simulated",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "python",
    "compiler": "python",
    "platform": "linux/amd64",
}
FOREIGN = {"Eviction": ("policy", "v1"), "Scale": ("autoscaling", "v1")}  # kinds of another group
PATCH_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]


def answer(catalogue: Catalogue, path: str) -> Json | None:
    """Answer a discovery path; None if it is none."""
    parts = [part for part in path.split("/") if part]
    result: Json | None = None
    match parts:
        case ["version"]:
            result = dict(VERSION)
        case ["api"]:
            result = {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = [_group(catalogue, name) for name in _group_names(catalogue)]
            result = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", name] if name in _group_names(catalogue):
            result = {"apiVersion": "v1", **_group(catalogue, name)}
        case ["api", version] if version in catalogue.groups():
            result = _resource_list(catalogue, version)
        case ["apis", group, version] if f"{group}/{version}" in catalogue.groups():
            result = _resource_list(catalogue, f"{group}/{version}")
        case ["openapi", "v3"]:
            roots = [_root(group_version) for group_version in catalogue.groups()]
            result = {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}?hash=0"} for root in roots}}
        case ["openapi", "v3", *root]:
            result = _schema(catalogue, "/".join(root))
    return result


def _group_names(catalogue: Catalogue) -> list[str]:
    return sorted({resource.group for resource in catalogue if resource.group})


def _group(catalogue: Catalogue, name: str) -> Json:
    versions = sorted({resource.version for resource in catalogue if resource.group == name})
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "name": name, "versions": entries, "preferredVersion": entries[0]}


def _resource_list(catalogue: Catalogue, group_version: str) -> Json:
    resources = [
        entry for resource in catalogue.groups()[group_version] for entry in _resource_entries(resource)
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _resource_entries(resource: Resource) -> list[Json]:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    status = (("status", resource.kind, "get patch update"),) if resource.status else ()
    return [entry, *(_subresource(resource, *found) for found in (*resource.subresources, *status))]


def _subresource(resource: Resource, name: str, kind: str, verbs: str) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": verbs.split(),
    }
    if kind in FOREIGN:
        entry |= dict(zip(("group", "version"), FOREIGN[kind], strict=True))
    return entry


def _root(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


def _schema(catalogue: Catalogue, root: str) -> Json | None:
    resources = next((found for version, found in catalogue.groups().items() if _root(version) == root), None)
    if resources is None:
        return None
    paths = {}
    for resource in resources:
        scope = "namespaces/{namespace}/" if resource.namespaced else ""
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        operation = {"parameters": PATCH_PARAMETERS, "x-kubernetes-group-version-kind": kind, "responses": {}}
        paths[f"/{root}/{scope}{resource.plural}/{{name}}"] = {"patch": operation}
    info = {"title": "Kubernetes", "version": "simulated"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
