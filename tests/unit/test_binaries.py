"""A folder that lacks a program of the control plane is one plain sentence: what is missing, and where to get it."""

from pathlib import Path

import pytest

from lab.binaries import CONTROL_PLANE_PROGRAMS, MissingBinary, control_plane_folder, etcd_assets
from tests.unit.test_contract import README, ROOT

GET = "https://dl.k8s.io/RELEASE/bin/linux/ARCH/NAME"


def folder_with(directory: Path, *programs: str) -> Path:
    for program in programs:
        (directory / program).touch(mode=0o755)
    return directory


def sentence() -> str:
    with pytest.raises(MissingBinary) as caught:
        control_plane_folder()
    return str(caught.value)


def test_an_archive_of_envtest_lacks_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder_with(tmp_path, "kube-apiserver", "kubectl", "etcd")))
    said = sentence()
    lacks = (
        f"KUBEBUILDER_ASSETS: {tmp_path} holds no kube-controller-manager and no kube-scheduler; take all of"
    )
    assert said.startswith(lacks)
    assert GET in said
    assert "\n" not in said


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "none"))
    assert sentence().startswith(f"KUBEBUILDER_ASSETS: there is no folder {tmp_path / 'none'}; take all of")
    monkeypatch.setenv("ETCD_ASSETS", str(tmp_path / "none"))
    assert etcd_assets() == []


def test_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    assert sentence().startswith(
        "a real control plane needs KUBEBUILDER_ASSETS: a folder with kube-apiserver, "
    )


def test_a_whole_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder_with(tmp_path, *CONTROL_PLANE_PROGRAMS)))
    assert control_plane_folder() == tmp_path


def test_the_documents_say_the_same() -> None:
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        assert GET in text
        assert all(program in text for program in CONTROL_PLANE_PROGRAMS)
