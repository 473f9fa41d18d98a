"""Preflight: until when etcd's certificates are valid, read from the files that its members use.

Members whose certificates have run out refuse each other, which looks like failed members and is none: so this is
asked before the members are, in every pod that can be asked. The keys are not read.
"""

from datetime import UTC, datetime, timedelta

from activities.preflight_checks import Looks
from activities.side_by_side import side_by_side
from replace_etcd.certificates import Certificate, parse_certificates, time_left
from replace_etcd.cluster import Object
from replace_etcd.errors import ReplacementError
from replace_etcd.pod_template import container_index, option

AT_LEAST = timedelta(hours=24)
READ_SECONDS = 10.0
OPTIONS = ("cert-file", "peer-cert-file", "client-cert-file", "trusted-ca-file", "peer-trusted-ca-file")
OF_ETCDCTL = ("etcd.crt", "etcdCA.crt")


async def look_at_certificates(looks: Looks) -> None:
    """No certificate may end while the replacement can still be under way, held included."""
    template = looks.stateful_set["spec"]["template"]["spec"]
    paths = certificate_files(
        template["containers"][container_index(template, looks.container)],
        looks.tools.settings.certificates_directory,
    )
    answers = await side_by_side(*(_cat(looks, pod, paths) for pod in looks.pods))
    found = sorted(
        {one for certificates, _ in answers for one in certificates}, key=lambda one: one.not_after
    )
    complaints = sorted({complaint for _, complaint in answers if complaint})
    _judge(looks, found)
    if complaints or not found:
        evidence = "; ".join(complaints) or "could not be read in any pod"
        way_out = f"see that they stay valid for as long as it may take: {', '.join(paths)}"
        looks.findings.warn("certificates that could not be read", evidence, way_out)


def _judge(looks: Looks, found: list[Certificate]) -> None:
    now = datetime.now(UTC)
    needed = max(AT_LEAST, looks.request.limits.hold)
    said = ", ".join(f"{one.subject} {time_left(one, now)}" for one in found)
    if any(one.not_after <= now for one in found):
        evidence = f"{said}: members with expired certificates refuse each other and look failed"
        looks.findings.refuse(
            "certificates", evidence, "renew them first; then look which members still fail"
        )
    elif any(one.not_after - now < needed for one in found):
        evidence = f"{said}; {needed} are needed, for the replacement may be held that long"
        looks.findings.refuse("certificates", evidence, "renew them first, or shorten limits.hold")
    elif found:
        looks.findings.ok("certificates", said)


def certificate_files(container: Object, directory: str) -> list[str]:
    """The files that etcd and `etcdctl` use, each once."""
    named = [path for name in OPTIONS if (path := option(container, name)) is not None]
    return list(dict.fromkeys([*named, *(f"{directory}/{file}" for file in OF_ETCDCTL)]))


async def _cat(looks: Looks, pod: str, paths: list[str]) -> tuple[list[Certificate], str]:
    """What one pod reads there, and what it could not; nothing where the pod does not run.

    All pods are asked: a Secret that was renewed reaches them one after the other.
    """
    try:
        answer = await looks.tools.cluster.execute(
            looks.namespace, pod, looks.container, ["cat", *paths], seconds=READ_SECONDS
        )
        return parse_certificates(answer.stdout), answer.stderr.strip()[-300:]
    except (ReplacementError, ValueError):
        return [], ""
