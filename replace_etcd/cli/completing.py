"""What the shell's completion asks of Temporal; apart from it, since this part loads the client."""

from __future__ import annotations

from replace_etcd import replacements, search_attributes, temporal

LOOKED_AT = 200


async def user_clusters(condition: str) -> list[str]:
    """User clusters of the newest replacements, each once."""
    client = await temporal.connect()
    found: dict[str, None] = {}
    query = f"WorkflowType = '{replacements.WORKFLOW}'{condition}"
    async for item in client.list_workflows(query, limit=LOOKED_AT):
        if name := item.typed_search_attributes.get(search_attributes.USER_CLUSTER):
            found[name] = None
    return list(found)
