"""The stop for the whole fleet, which needs no redeploy: while one ConfigMap exists, no member is removed.

`kubectl create configmap -n kube-system replace-etcd-stop --from-literal=reason=...` sets it, deleting it lifts it.
"""

from activities.step import Toolbox
from replace_etcd.cluster import CONFIG_MAP


async def stop_reason(tools: Toolbox) -> str | None:
    """Why no replacement may go on; None while nobody has said stop."""
    namespace, _, name = tools.settings.stop_config_map.partition("/")
    found = await tools.cluster.get(CONFIG_MAP, name, namespace)
    if found is None:
        return None
    reason = ((found.get("data") or {}).get("reason") or "").strip()
    return f"ConfigMap {namespace}/{name} stops every replacement: {reason or 'no reason given'}"
