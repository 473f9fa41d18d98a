"""The DNS server's answers, byte by byte: etcd's own resolver is not a forgiving client."""

from __future__ import annotations

import struct

import pytest

from lab.nodes.dns import AAAA, PTR, A, address_of_reverse_name, answer, encode_name, parse_question

ADDRESSES = {"one.svc": ["10.244.0.7"], "svc": ["10.244.0.7", "10.244.0.8"], "empty": []}


def query(name: str, kind: int) -> bytes:
    return struct.pack("!HHHHHH", 4242, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack("!HH", kind, 1)


def reply(name: str, kind: int) -> tuple[int, int, bytes]:
    """Response code, number of answers, and the last four bytes."""
    names = {"7.0.244.10.in-addr.arpa": ["one.svc"]}
    packet = answer(query(name, kind), lambda n, _: ADDRESSES.get(n), lambda n, _: names.get(n))
    identifier, flags, _, answers, _, _ = struct.unpack_from("!HHHHHH", packet)
    assert identifier == 4242
    assert flags & 0x8000
    return flags & 0xF, answers, packet


def test_a_name_is_answered_with_its_address() -> None:
    code, answers, packet = reply("one.svc", A)
    assert (code, answers) == (0, 1)
    assert packet.endswith(bytes([10, 244, 0, 7]))


def test_names_know_no_case() -> None:
    assert reply("One.SVC", A)[:2] == (0, 1)


def test_a_service_has_the_addresses_of_all_its_pods() -> None:
    assert reply("svc", A)[:2] == (0, 2)


@pytest.mark.parametrize(("name", "code"), [("one.svc", 0), ("none.svc", 3)])
def test_a_question_for_ipv6_tells_an_unknown_name_from_one_without(name: str, code: int) -> None:
    """NXDOMAIN would end the search although the name has an IPv4 address."""
    assert reply(name, AAAA)[:2] == (code, 0)


def test_an_address_is_answered_with_its_name() -> None:
    code, answers, packet = reply("7.0.244.10.in-addr.arpa", PTR)
    assert (code, answers) == (0, 1)
    assert packet.endswith(encode_name("one.svc"))


def test_a_reverse_name_is_turned_round() -> None:
    assert address_of_reverse_name("7.0.244.10.in-addr.arpa") == "10.244.0.7"
    assert address_of_reverse_name("kube-etcd-0.kube-etcd") is None


def test_a_question_is_read_back() -> None:
    name, kind, question = parse_question(query("a.b", A))
    assert (name, kind, question) == ("a.b", A, encode_name("a.b") + struct.pack("!HH", A, 1))
