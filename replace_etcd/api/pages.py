"""`/replacements`: the list and the story of each replacement, for a browser, as the audit draws them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from replace_etcd.api import reading
from replace_etcd.api.calling import Reader
from replace_etcd.api.replacement_routes import Id
from replace_etcd.api.services import Given
from replace_etcd.audit import page
from replace_etcd.audit.views import Filters
from replace_etcd.models.request import Namespace

router = APIRouter(prefix="/replacements", include_in_schema=False, default_response_class=HTMLResponse)


@router.get("")
async def all_of_them(
    services: Given,
    _caller: Reader,
    user_cluster: Namespace | None = None,
    plans: bool = False,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,27}$")] = None,
) -> str:
    """A page of the list."""
    filters = Filters(user_cluster=user_cluster, plans=plans)
    return page.list_page(await reading.listed(services, filters, 50, cursor))


@router.get("/{id}")
async def one(services: Given, _caller: Reader, id: Id) -> str:
    """One replacement."""
    return page.replacement_page(await reading.audited(services, id))
