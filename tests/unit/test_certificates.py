"""Until when certificates are valid, and which files of a pod are asked."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme

from activities.preflight_certificates import certificate_files
from replace_etcd.certificates import Certificate, parse_certificates, time_left

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_certificate_of_a_file_is_read() -> None:
    authority = trustme.CA()
    end = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    leaf = authority.issue_cert("kube-etcd-0", common_name="root", not_after=end)
    pem = leaf.cert_chain_pems[0].bytes() + authority.cert_pem.bytes()
    first, second = parse_certificates(pem.decode())
    assert first == Certificate(subject="root", not_after=end)
    assert second.subject.startswith("OU=")


def test_a_file_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        parse_certificates("-----BEGIN RSA PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=3, hours=5), "valid for 3 days"),
        (timedelta(hours=5, minutes=59), "valid for 5 h"),
        (timedelta(0), "expired 2026-01-01 00:00 UTC"),
    ],
)
def test_the_time_left_in_words(left: timedelta, said: str) -> None:
    assert time_left(Certificate(subject="", not_after=NOW + left), NOW) == said


def test_the_files_are_those_of_etcd_and_of_etcdctl_each_once() -> None:
    container = {
        "args": ["--cert-file=/c/etcd.crt", "--peer-cert-file", "/peer/p.crt", "--key-file=/c/etcd.key"]
    }
    assert certificate_files(container, "/c") == ["/c/etcd.crt", "/peer/p.crt", "/c/etcdCA.crt"]
