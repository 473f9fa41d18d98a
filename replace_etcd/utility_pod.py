"""The utility Pod as an object: the steps create it, and so does a person who follows the record by hand. Pure."""

from replace_etcd.cluster import Object
from replace_etcd.models.plan import Pins
from replace_etcd.scheduling import HOSTNAME
from replace_etcd.settings import Settings

CONTAINER = "etcd-utility"
DATA = "/var/lib/etcd"
SCRATCH = "/snapshot"
RUN_LABEL = "replace-etcd/run"
# The first process of a container ignores SIGTERM unless it says otherwise: the vendor's Pod takes 32 s to end.
OBEDIENT = "trap 'exit 0' TERM; while :; do sleep 5 & wait $!; done"


def name_of(pins: Pins, settings: Settings) -> str:
    """The vendor's name: the prefix and the member's ordinal."""
    return f"{settings.utility_name_prefix}-{pins.ordinal}"


def data_directory(pins: Pins) -> str:
    """The data directory as the utility Pod sees it: it mounts the root of the claim."""
    return DATA if pins.data_path == "." else f"{DATA}/{pins.data_path}"


def utility_pod(pins: Pins, settings: Settings, run: str, generation: int) -> Object:
    """The Pod that mounts the volume of the failed member on its node, cordoned or not."""
    labels = {RUN_LABEL: run, "replace-etcd/generation": str(generation)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name_of(pins, settings), "namespace": pins.user_cluster, "labels": labels},
        "spec": {
            "containers": [_container(settings, run)],
            "volumes": _volumes(pins),
            # The runbook's other label names one user cluster, and a node may be shared by many.
            "nodeSelector": {HOSTNAME: pins.node_hostname} if pins.node_hostname else {},
            "affinity": _on_the_node(pins.node),
            "tolerations": _tolerations(pins),
            "imagePullSecrets": pins.pull_secrets,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
        },
    }


def _on_the_node(name: str) -> Object:
    """The node itself: a host name is a label, which another node may carry too."""
    field = {"key": "metadata.name", "operator": "In", "values": [name]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _tolerations(pins: Pins) -> list[Object]:
    """The vendor's, and those of the failed pod: it goes where that pod goes."""
    own = [
        _toleration("node.kubernetes.io/not-ready", "NoExecute", 300),
        _toleration("node.kubernetes.io/unreachable", "NoExecute", 300),
        _toleration("node.kubernetes.io/unschedulable", "NoSchedule", None),
    ]
    return own + [toleration for toleration in pins.tolerations if toleration not in own]


def _container(settings: Settings, run: str) -> Object:
    uid = {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    return {
        "name": CONTAINER,
        "image": settings.utility_image,
        "command": ["/bin/sh", "-c", OBEDIENT],
        "env": [uid, {"name": "RUN_TOKEN", "value": run}],
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "certificates", "mountPath": settings.certificates_directory},
            {"name": "snapshot", "mountPath": SCRATCH},
        ],
    }


def _volumes(pins: Pins) -> list[Object]:
    secret = {"secretName": pins.certificates_secret, "defaultMode": 420}
    return [
        {"name": "data", "persistentVolumeClaim": {"claimName": pins.claim}},
        {"name": "certificates", "secret": secret},
        {"name": "snapshot", "emptyDir": {}},
    ]


def _toleration(key: str, effect: str, seconds: int | None) -> Object:
    toleration: Object = {"key": key, "operator": "Exists", "effect": effect}
    return toleration if seconds is None else toleration | {"tolerationSeconds": seconds}
