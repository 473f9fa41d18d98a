"""`docker-compose.yml` and the Dockerfile hold together, as far as can be seen without pulling an image."""

import json
import os
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from replace_etcd import search_attributes

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EACH = pytest.mark.parametrize("name", SERVICES)
PINNED = re.compile(r"[a-z0-9./_-]+:v?\d+(\.\d+)+(-[a-z0-9.-]+)?(@sha256:[0-9a-f]{64})?")


def test_it_is_what_the_compose_specification_allows() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(COMPOSE)


@pytest.mark.needs("docker compose")
def test_docker_compose_reads_it() -> None:
    subprocess.run(
        ["docker", "compose", "--file", "docker-compose.yml", "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": "kubeconfig"},
        check=True,
    )


@EACH
def test_the_image_is_pinned_to_a_release(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


def test_the_base_image_is_pinned_to_a_release() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert all(PINNED.fullmatch(base) for base in bases)


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "postgres:16", "temporalio/ui:v2"])
def test_a_tag_that_moves_is_not_taken_for_a_release(image: str) -> None:
    assert not PINNED.fullmatch(image)


@EACH
def test_a_service_waits_for_what_can_happen(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        other = SERVICES[needed]
        if how["condition"] == "service_healthy":
            assert "healthcheck" in other
        else:
            assert how["condition"] == "service_completed_successfully"
            assert "restart" not in other, f"{needed} is to end, not to be started again"


@EACH
def test_ports_are_open_on_the_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@EACH
def test_networks_and_volumes_are_declared(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0] if isinstance(volume, str) else volume["source"]
        assert source.startswith("${") or source in COMPOSE["volumes"] or (ROOT / source).is_file()


def test_only_the_two_one_shots_and_the_server_reach_the_database() -> None:
    near = {name for name, service in SERVICES.items() if "database" in service.get("networks", [])}
    assert near == {"postgresql", "temporal-schema", "temporal"}
    audited = {name for name, service in SERVICES.items() if "audit" in service.get("networks", [])}
    assert audited == {"postgresql", "audit-database", "audit-schema", "worker", "api"}
    assert "replace_etcd_api" in SERVICES["api"]["environment"]["REPLACE_ETCD_AUDIT"], "nor does this one"
    assert "replace_etcd_worker" in SERVICES["worker"]["environment"]["REPLACE_ETCD_AUDIT"], (
        "it owns no table"
    )


def test_no_password_is_written_down_without_a_way_to_set_it() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|PWD", key) or value.startswith("${")


def test_the_worker_is_an_ordinary_user_in_a_read_only_container() -> None:
    worker = SERVICES["worker"]
    assert re.search(r"^USER [1-9]", DOCKERFILE, re.MULTILINE)
    assert worker["read_only"] is True
    assert len(worker["tmpfs"]) == 1  # the Kubernetes client writes certificates to files
    assert worker["cap_drop"] == ["ALL"]


def test_the_image_is_made_of_locked_packages_by_hash() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "requirements-runtime.lock" in DOCKERFILE


def test_the_image_gets_everything_that_the_worker_imports_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)
    let_through = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(let_through)
    assert {"worker.py", "workflows", "activities", "replace_etcd"} <= set(copied)


@pytest.mark.parametrize("script", ["create-schema.sh", "create-namespace.sh", "create-audit.sh"])
def test_the_scripts_are_for_the_shell_of_the_images(script: str) -> None:
    subprocess.run(["sh", "-n", ROOT / "deploy" / "compose" / script], check=True)


def test_the_one_shot_registers_the_search_attributes_of_the_workflow() -> None:
    script = (ROOT / "deploy" / "compose" / "create-namespace.sh").read_text()
    names = re.search(r"^for name in (.*); do$", script, re.MULTILINE)
    assert names is not None
    assert names[1].split() == [key.name for key in search_attributes.ALL]
