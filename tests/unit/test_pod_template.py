"""Where the flag and the data directory are found, in every spelling, or refused by name."""

from typing import Any

import pytest

from replace_etcd.cluster import Object
from replace_etcd.pod_template import NotFound, data_path, find_flag, read_pointer


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
    with pytest.raises(NotFound, match="only sidecar, kube-etcd"):
        find_flag(template(args=[]), "etcd")


def pod(data_dir: str, mount: dict[str, str], *more: str) -> Object:
    container = {
        "name": "kube-etcd",
        "args": [f"--data-dir={data_dir}", *more],
        "volumeMounts": [{"name": "data", **mount}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-kube-etcd-1"}}]
    return {"spec": {"containers": [container], "volumes": volumes}}


@pytest.mark.parametrize(
    ("data_dir", "mount", "path"),
    [
        ("/var/lib/etcd", {"mountPath": "/var/lib/etcd"}, "."),
        ("/var/lib/etcd/", {"mountPath": "/var/lib/etcd"}, "."),
        ("/var/lib/etcd/data", {"mountPath": "/var/lib/etcd"}, "data"),
        ("/data/etcd", {"mountPath": "/data", "subPath": "member-1"}, "member-1/etcd"),
    ],
)
def test_the_data_directory_is_translated_to_a_path_in_the_volume(
    data_dir: str, mount: dict[str, str], path: str
) -> None:
    assert data_path(pod(data_dir, mount), "kube-etcd", "data-kube-etcd-1") == path


@pytest.mark.parametrize("data_dir", ["/elsewhere", "/var/lib/etcd/../../root", "relative"])
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
