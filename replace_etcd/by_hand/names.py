"""Short names for long commands: the shell functions that the steps use, each a question or a wait.

A question that could not be asked is answered in the way that changes nothing: `absent` is true only where
every survivor has answered.
"""

from replace_etcd.by_hand.shell import Step, jsonpath, quote, words_of
from replace_etcd.etcd import etcdctl
from replace_etcd.models.plan import Pins
from replace_etcd.models.record import Record
from replace_etcd.pod_template import in_pod
from replace_etcd.settings import Settings

SECONDS = 8


def basics(record: Record, namespace: str, settings: Settings) -> list[str]:
    """What is needed to take the record over."""
    name = quote(settings.record)
    outcome = f'"{record.outcome.value}"' if record.outcome else "null"
    stands = [f'^ "phase": "{record.phase.value}"', f'^ "furthest": "{record.furthest.value}"']
    patterns = " ".join(f"-e {quote(line)}" for line in [*stands, f'^ "outcome": {outcome}'])
    return [
        'stop() { echo "STOP: $*" >&2; return 1; }',
        'wait_until() { until "$@" >/dev/null 2>&1; do echo "waiting until: $*"; sleep 1; done; }',
        f'look() {{ kubectl -n {quote(namespace)} get "$1" "$2" --ignore-not-found -o "jsonpath=$3"; }}',
        f"record() {{ look configmap {name} '{{.data.record\\.json}}'; }}",
        f'words_are_current() {{ [ "$(record | grep -c {patterns})" = 3 ]; }}',
        """lease() { record | sed -n 's/^ "until": "\\([^"]*\\)".*/\\1/p' | tr -dc 0-9 | cut -c1-14; }""",
        'nobody_acts() { [ "$(date -u +%Y%m%d%H%M%S)" -gt "$(lease)" ]; }',
    ]


def names(record: Record, pins: Pins, settings: Settings) -> Step:
    """The first step: they change nothing."""
    return Step(
        "Short names for what follows. They change nothing. Paste them into every terminal that you use.",
        [
            *basics(record, pins.user_cluster, settings),
            *_of_etcd(pins, settings),
            *_of_the_member(pins),
            *_of_the_template(pins, settings),
        ],
        words="kubectl must point at the admin cluster.",
    )


def pods(pins: Pins) -> list[str]:
    """Every etcd pod, the replaced one first."""
    return [pins.replica, *(survivor.pod for survivor in pins.survivors)]


def _of_etcd(pins: Pins, settings: Settings) -> list[str]:
    first = quote(pins.survivors[0].pod)
    survivors = words_of([survivor.pod for survivor in pins.survivors])
    command = words_of(
        etcdctl(
            [],
            certificates=settings.certificates_directory,
            endpoint=settings.client_endpoint,
            seconds=SECONDS,
        )
    )
    execute = (
        f'kubectl -n {quote(pins.user_cluster)} exec "$pod" -c {quote(pins.container)} -- {command} "$@"'
    )
    return [
        f"etcdctl_in() ( pod=$1; shift; {execute} )",
        f'members() ( for pod in {survivors}; do etcdctl_in "$pod" member list || exit 1; done )',
        f"voters() {{ etcdctl_in {first} member list | grep -c ', started, .*, false$'; }}",
        f'healthy() ( for pod in {words_of(pods(pins))}; do etcdctl_in "$pod" endpoint health || exit 1; done;'
        f' [ "$(voters)" = {pins.voters} ] )',
    ]


def _of_the_member(pins: Pins) -> list[str]:
    """Its name and its addresses tell the new member, the pinned id the old one."""
    patterns = words_of([word for url in pins.peer_urls for word in ("-e", url)])
    asked = 'seen=$(members) && [ -n "$seen" ] &&'
    return [
        f"ours() {{ grep -F -e {quote(f', {pins.member_name}, ')} {patterns}; }}",
        f'removed() {{ {asked} ! echo "$seen" | grep {quote(f"^{pins.member_id},")}; }}',
        f'absent() {{ {asked} ! echo "$seen" | ours; }}',
        "listed() { members | ours; }",
        "started() { members | ours | grep ', started, '; }",
        f'unstarted() {{ {asked} echo "$seen" | ours && ! echo "$seen" | ours | grep \', started, \'; }}',
        "voter() { members | ours | grep ', started, .*, false$'; }",
        f"new_id() {{ etcdctl_in {quote(pins.survivors[0].pod)} member list | ours | cut -d, -f1; }}",
    ]


def _of_the_template(pins: Pins, settings: Settings) -> list[str]:
    stateful_set = quote(settings.stateful_set)
    all_pods = words_of(pods(pins))
    revisions = r"""'{range .items[*]}{.metadata.labels.controller-revision-hash}{"\n"}{end}'"""
    listing = f"kubectl -n {quote(pins.user_cluster)} get pods {all_pods} -o jsonpath={revisions}"
    generations = "'{.metadata.generation} {.status.observedGeneration}'"
    return [
        f"flag() {{ look statefulset {stateful_set} {jsonpath(pins.flag.pointer)}; }}",
        f'flag_in() {{ look pod "$1" {jsonpath(in_pod(pins.flag), pins.container)}; }}',
        f'pod_as_before() {{ [ "$(flag_in "$1")" = {as_printed(pins.flag.original)} ]; }}',
        f"observed() ( set -- $(look statefulset {stateful_set} {generations}); [ $# = 2 ] && [ $1 = $2 ] )",
        f"revision() {{ look statefulset {stateful_set} '{{.status.updateRevision}}'; }}",
        f'settled() {{ [ "$({listing} | sort -u)" = "$(revision)" ]; }}',
    ]


def as_printed(text: str) -> str:
    """A text as `$(...)` returns it, quoted: without the line ends at its end."""
    return quote(text.rstrip("\n"))
