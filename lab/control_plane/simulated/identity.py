"""Who calls, by client certificate, and what they may do, by RBAC.

The common name is the user and each organization a group; there are no tokens, so that a service account is a
certificate with its full name. Nobody is anonymous. `system:masters` may do
everything; others what the Roles, ClusterRoles and bindings in the store say, plus what every cluster gives
to everybody.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.errors import StatusError, forbidden
from lab.control_plane.simulated.request import Target
from lab.control_plane.simulated.resources import Resource

Json = dict[str, Any]

MASTERS = "system:masters"
RBAC = "rbac.authorization.k8s.io"
FOR_EVERYBODY = ("/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version")


@dataclass(frozen=True)
class Caller:
    """A user and the groups it is in."""

    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Action:
    """What RBAC judges: a verb on a resource, in a namespace or in none."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def authenticate(request: web.Request) -> Caller:
    """Read the client certificate, which TLS has verified but for its time; 401 without one that is valid."""
    certificate = request.get_extra_info("peercert")
    if not certificate or ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
        raise StatusError(401, "Unauthorized", "Unauthorized")
    fields = [pair for part in certificate["subject"] for pair in part]
    user = next((value for key, value in fields if key == "commonName"), "")
    groups = tuple(value for key, value in fields if key == "organizationName")
    return Caller(user, (*groups, "system:authenticated"))


def impersonated(cluster: Cluster, request: web.Request, caller: Caller) -> Caller:
    """Take on the user and groups that `--as` asks for, if the caller may."""
    user = request.headers.get("Impersonate-User")
    if not user:
        return caller
    if not may(cluster, caller, Action("impersonate", "", "users", name=user)):
        text = f'users "{user}" is forbidden: User "{caller.user}" cannot impersonate resource "users"'
        raise StatusError(403, "Forbidden", f'{text} in API group "" at the cluster scope', {})
    groups = tuple(request.headers.getall("Impersonate-Group", ()))
    return Caller(user, (*groups, "system:authenticated"))


def authorize(cluster: Cluster, caller: Caller, target: Target) -> None:
    """Refuse with 403 what no rule allows."""
    resource = target.resource
    action = Action(
        target.verb, resource.group, target.authorized_as, target.namespace, target.name or target.selected
    )
    if not may(cluster, caller, action):
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        text = f'User "{caller.user}" cannot {target.verb} resource "{target.authorized_as}" in API group'
        raise forbidden(resource, target.name, f'{text} "{resource.group}" {where}')


def may(cluster: Cluster, caller: Caller, action: Action) -> bool:
    """Whether a rule allows the action."""
    if MASTERS in caller.groups:
        return True
    if action.resource == "selfsubjectaccessreviews" and action.verb == "create":
        return True
    return any(_allows(rule, action) for rule in _rules(cluster, caller, action.namespace))


def may_read_path(cluster: Cluster, caller: Caller, path: str) -> bool:
    """Whether a path that is no resource may be read."""
    if MASTERS in caller.groups or path.startswith(FOR_EVERYBODY):
        return True
    rules = _rules(cluster, caller, "")
    return any(_path_matches(url, path) for rule in rules for url in rule.get("nonResourceURLs", ()))


def _rules(cluster: Cluster, caller: Caller, namespace: str) -> Iterator[Json]:
    """All rules that bind the caller, cluster-wide and in one namespace."""
    for plural, where in (("clusterrolebindings", ""), ("rolebindings", namespace)):
        if plural == "rolebindings" and not namespace:
            continue
        for binding in cluster.store.list(cluster.resource(plural, RBAC), where):
            if any(_is_subject(subject, caller) for subject in binding.get("subjects") or ()):
                yield from _role(cluster, binding["roleRef"], where)


def _role(cluster: Cluster, reference: Json, namespace: str) -> list[Json]:
    cluster_wide = reference["kind"] == "ClusterRole"
    resource: Resource = cluster.resource("clusterroles" if cluster_wide else "roles", RBAC)
    role = cluster.store.get(resource, "" if cluster_wide else namespace, reference["name"])
    return (role.get("rules") or []) if role else []


def _is_subject(subject: Json, caller: Caller) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in caller.groups
    if subject["kind"] == "ServiceAccount":
        return caller.user == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
    return bool(subject["kind"] == "User" and subject["name"] == caller.user)


def _allows(rule: Json, action: Action) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), action.verb)
        and _has(rule.get("apiGroups"), action.group)
        and _has_resource(rule.get("resources") or (), action.resource)
        and (not names or action.name in names)
    )


def _has(values: list[str] | None, value: str) -> bool:
    return value in (values or ()) or "*" in (values or ())


def _has_resource(resources: list[str] | tuple[str, ...], wanted: str) -> bool:
    subresource = wanted.partition("/")[2]
    return wanted in resources or "*" in resources or bool(subresource and f"*/{subresource}" in resources)


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
