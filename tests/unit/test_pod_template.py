"""Where the flag and the data directory are found, in every spelling, or refused by name."""

from typing import Any

import pytest

from replace_etcd.cluster import Object
from replace_etcd.pod_template import (
    NotFound,
    data_path,
    etcd_container,
    find_flag,
    flag_text_in,
    read_pointer,
)


def template(**container: Any) -> Object:
    return {"containers": [{"name": "sidecar"}, {"name": "kube-etcd", **container}]}


BASE = "/spec/template/spec/containers/1"


@pytest.mark.parametrize(
    ("container", "pointer", "original", "existing"),
    [
        (
            {"args": ["--name=a", "--initial-cluster-state=new"]},
            "/args/1",
            "--initial-cluster-state=new",
            "--initial-cluster-state=existing",
        ),
        ({"args": ["--initial-cluster-state", "new"]}, "/args/1", "new", "existing"),
        (
            {"args": ["-initial-cluster-state=new"]},
            "/args/0",
            "-initial-cluster-state=new",
            "-initial-cluster-state=existing",
        ),
        (
            {"command": ["etcd", "--initial-cluster-state=new"]},
            "/command/1",
            "--initial-cluster-state=new",
            "--initial-cluster-state=existing",
        ),
        (
            {"command": ["/bin/sh", "-c", "exec etcd --name=x --initial-cluster-state=new --data-dir=/d"]},
            "/command/2",
            "exec etcd --name=x --initial-cluster-state=new --data-dir=/d",
            "exec etcd --name=x --initial-cluster-state=existing --data-dir=/d",
        ),
        (
            {"command": ["/bin/sh", "-c"], "args": ["etcd --initial-cluster-state 'new' --x"]},
            "/args/0",
            "etcd --initial-cluster-state 'new' --x",
            "etcd --initial-cluster-state 'existing' --x",
        ),
        (
            {"env": [{"name": "ETCD_INITIAL_CLUSTER_STATE", "value": "new"}]},
            "/env/0/value",
            "new",
            "existing",
        ),
        *(
            (
                {"args": args, "env": [{"name": "X", "value": "1"}, {"name": "STATE", "value": "new"}]},
                "/env/1/value",
                "new",
                "existing",
            )
            for args in (
                ["--initial-cluster-state=$(STATE)"],
                ["--initial-cluster-state", "$(STATE)"],
                ["exec etcd --initial-cluster-state=${STATE} --x"],
                ['exec etcd --initial-cluster-state "$STATE"'],
            )
        ),
        (
            {
                "command": [
                    "sh",
                    "-c",
                    "# --initial-cluster-state=new once\nexec etcd --initial-cluster-state=new",
                ]
            },
            "/command/2",
            "# --initial-cluster-state=new once\nexec etcd --initial-cluster-state=new",
            "# --initial-cluster-state=new once\nexec etcd --initial-cluster-state=existing",
        ),
        (
            {
                "env": [{"name": "ETCD_INITIAL_CLUSTER_STATE", "value": "new"}],
                "args": ["--initial-cluster-state=existing"],
            },
            "/args/0",
            "--initial-cluster-state=existing",
            "--initial-cluster-state=existing",
        ),
    ],
)
def test_the_flag_is_found_in_every_spelling(
    container: Any, pointer: str, original: str, existing: str
) -> None:
    spec = template(**container)
    flag = find_flag(spec, "kube-etcd")
    assert (flag.pointer, flag.original, flag.existing) == (BASE + pointer, original, existing)
    assert read_pointer({"spec": {"template": {"spec": spec}}}, flag.pointer) == original


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"args": ["--name=a"]}, "neither in args, command nor ETCD_INITIAL_CLUSTER_STATE"),
        ({"args": ["--initial-cluster-state=$(STATE)"]}, r"value .* is neither new nor existing"),
        ({"args": ["--initial-cluster-state", "$(STATE)"]}, r"value .* is neither new nor existing"),
        (
            {
                "args": ["--initial-cluster-state=$(STATE)"],
                "env": [{"name": "STATE", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}}],
            },
            "not looked into: STATE",
        ),
        ({"args": [], "envFrom": [{"configMapRef": {"name": "settings"}}]}, "not looked into: settings"),
        ({"args": ["--initial-cluster-state=new", "--config-file=/etc/etcd.yaml"]}, "ignore flags"),
        ({"command": ["sh", "-c", "exec etcd # --initial-cluster-state=new"]}, "neither in args"),
        (
            {"command": ["sh", "-c", "A=--initial-cluster-state=new\nB=--initial-cluster-state=existing"]},
            "in 2 places",
        ),
        ({"command": ["sh", "-c", "exec etcd --initial-cluster-state=${STATE:-new}"]}, "neither new"),
        ({"args": ["--initial-cluster-state=new", "--initial-cluster-state=existing"]}, "in 2 places"),
    ],
)
def test_a_flag_that_is_absent_or_ambiguous_is_refused_by_name(container: Any, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        find_flag(template(**container), "kube-etcd")


def test_an_unknown_container_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(NotFound, match="only sidecar, kube-etcd, of which none has"):
        etcd_container(template(args=[]), "etcd")


def test_the_container_is_the_wished_one_or_the_only_one_that_has_the_flag() -> None:
    spec = template(args=["--initial-cluster-state=new"])
    assert etcd_container(spec, "sidecar") == "sidecar"
    assert etcd_container(spec, "etcd") == "kube-etcd"
    spec["containers"].append({"name": "other", "env": [{"name": "ETCD_INITIAL_CLUSTER_STATE"}]})
    with pytest.raises(NotFound, match="of which kube-etcd, other has"):
        etcd_container(spec, "etcd")


def test_a_pods_flag_is_found_behind_what_a_webhook_has_put_before_it() -> None:
    container = {"name": "kube-etcd", "args": ["--injected", "--initial-cluster-state=existing"]}
    injected = {"spec": {"containers": [{"name": "istio-proxy"}, container]}}
    assert flag_text_in(injected, "kube-etcd") == "--initial-cluster-state=existing"
    assert flag_text_in({"spec": {"containers": []}}, "kube-etcd") == ""
    assert flag_text_in({}, "kube-etcd") == ""


def pod(data_dir: str, mount: dict[str, str], *more: str) -> Object:
    container = {
        "name": "kube-etcd",
        "args": [f"--data-dir={data_dir}", *more],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "ROOT", "value": "/root-of-$(NAMESPACE)"},
        ],
        "volumeMounts": [{"name": "data", **mount}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-kube-etcd-1"}}]
    metadata = {"name": "kube-etcd-1", "namespace": "user-cluster-1"}
    return {"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}}


@pytest.mark.parametrize(
    ("data_dir", "mount", "path"),
    [
        ("/var/lib/etcd", {"mountPath": "/var/lib/etcd"}, "."),
        ("/var/lib/etcd/", {"mountPath": "/var/lib/etcd"}, "."),
        ("/var/lib/etcd/data", {"mountPath": "/var/lib/etcd"}, "data"),
        ("/data/etcd", {"mountPath": "/data", "subPath": "member-1"}, "member-1/etcd"),
        ("/data/$(POD_NAME).etcd", {"mountPath": "/data/"}, "kube-etcd-1.etcd"),
        ("/data/${HOSTNAME}", {"mountPath": "/data"}, "kube-etcd-1"),
        ("'/data/$(hostname)'", {"mountPath": "/data"}, "kube-etcd-1"),
        (
            "$(ROOT)/etcd",
            {"mountPath": "/root-of-user-cluster-1", "subPathExpr": "a/$(POD_NAME)"},
            "a/kube-etcd-1/etcd",
        ),
    ],
)
def test_the_data_directory_is_translated_to_a_path_in_the_volume(
    data_dir: str, mount: dict[str, str], path: str
) -> None:
    assert data_path(pod(data_dir, mount), "kube-etcd", "data-kube-etcd-1") == path


@pytest.mark.parametrize(
    "data_dir", ["/elsewhere", "/var/lib/etcd/../../root", "relative", "/var/lib/etcd/$(UNKNOWN)", "$DATA"]
)
def test_a_data_directory_outside_of_the_volume_is_refused(data_dir: str) -> None:
    with pytest.raises(NotFound):
        data_path(pod(data_dir, {"mountPath": "/var/lib/etcd"}), "kube-etcd", "data-kube-etcd-1")


def test_a_wal_directory_elsewhere_is_refused() -> None:
    with pytest.raises(NotFound, match="--wal-dir"):
        data_path(
            pod("/var/lib/etcd", {"mountPath": "/var/lib/etcd"}, "--wal-dir=/wal"),
            "kube-etcd",
            "data-kube-etcd-1",
        )
