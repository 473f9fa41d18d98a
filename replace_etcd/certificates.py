"""Until when certificates are valid, read from their PEM text; pure.

A certificate that runs out in the middle of a replacement looks like one more failed member.
"""

from datetime import datetime, timedelta

from cryptography import x509

from replace_etcd.models import Message


class Certificate(Message):
    """Whose certificate it is, and its last moment."""

    subject: str
    not_after: datetime


def parse_certificates(pem: str) -> list[Certificate]:
    """Read every certificate of a PEM file; `ValueError` where there is none."""
    return [
        Certificate(subject=_subject(found), not_after=found.not_valid_after_utc)
        for found in x509.load_pem_x509_certificates(pem.encode())
    ]


def time_left(certificate: Certificate, now: datetime) -> str:
    """In words, to the hour or the day."""
    left = certificate.not_after - now
    if left <= timedelta(0):
        return f"expired {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    hours = int(left.total_seconds() // 3600)
    return f"valid for {hours // 24} days" if hours >= 48 else f"valid for {hours} h"


def _subject(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
