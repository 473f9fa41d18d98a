"""`/replacements`: the list and the story of each replacement, for a browser, as the audit draws them."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from replace_etcd.api import reading
from replace_etcd.api.calling import Reader
from replace_etcd.api.replacement_routes import Cursor, Id
from replace_etcd.api.services import Given
from replace_etcd.audit import page
from replace_etcd.audit.views import Filters
from replace_etcd.models.request import Namespace

ON_A_PAGE = 50
router = APIRouter(prefix="/replacements", include_in_schema=False, default_response_class=HTMLResponse)


@router.get("")
async def all_of_them(
    services: Given,
    _caller: Reader,
    user_cluster: Namespace | None = None,
    plans: bool = False,
    cursor: Cursor | None = None,
) -> str:
    """A page of the list, with a link to the next one."""
    filters = Filters(user_cluster=user_cluster, plans=plans)
    found = await reading.listed(services, filters, ON_A_PAGE, cursor)
    wanted = {"user_cluster": user_cluster, "plans": plans or None, "cursor": found.next_cursor}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    return page.list_page(found, f"/replacements?{query}" if found.next_cursor else None)


@router.get("/{id}")
async def one(services: Given, _caller: Reader, id: Id) -> str:
    """One replacement."""
    return page.replacement_page(await reading.audited(services, id))
