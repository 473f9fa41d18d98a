"""The controllers: each turns one kind of wish into what the real controller makes of it, one module each.

They run in the API server's process and see every change at once, so that an effect follows its cause within
milliseconds. The real ones need a little longer, and otherwise do the same; tests/lab holds both to it.
"""

from __future__ import annotations

from lab.control_plane.simulated.cluster import Cluster
from lab.control_plane.simulated.controllers.base import Controller
from lab.control_plane.simulated.controllers.custom_resources import CustomResourceController
from lab.control_plane.simulated.controllers.disruption import DisruptionController
from lab.control_plane.simulated.controllers.garbage_collector import GarbageCollector
from lab.control_plane.simulated.controllers.namespaces import NamespaceController
from lab.control_plane.simulated.controllers.node_lifecycle import NodeLifecycleController
from lab.control_plane.simulated.controllers.scheduler import Scheduler
from lab.control_plane.simulated.controllers.stateful_set import StatefulSetController
from lab.control_plane.simulated.controllers.taint_eviction import TaintEvictionController
from lab.control_plane.simulated.controllers.volumes import VolumeBinder, VolumeProtection


def all_controllers(cluster: Cluster, *, node_grace: float) -> list[Controller]:
    """Build every controller; `node_grace` is how long a node may be silent before it is NotReady."""
    return [
        CustomResourceController(cluster),
        NamespaceController(cluster),
        GarbageCollector(cluster),
        StatefulSetController(cluster),
        DisruptionController(cluster),
        VolumeBinder(cluster),
        VolumeProtection(cluster),
        Scheduler(cluster),
        NodeLifecycleController(cluster, node_grace),
        TaintEvictionController(cluster),
    ]
