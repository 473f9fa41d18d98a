"""Who calls a route, and whether they may: the token's roles decide, and its name is who they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from replace_etcd.api.gate import Caller
from replace_etcd.api.problems import Problem
from replace_etcd.api.tokens import Role

# It only describes: the gate has authenticated before a route is found.
BEARER = HTTPBearer(auto_error=False, description="a token of `replace-etcd api token`", scheme_name="token")


def permitted(*roles: Role) -> Callable[[Request], Caller]:
    """A dependency that lets those in whose token has one of the roles."""

    def check(request: Request) -> Caller:
        caller: Caller | None = request.state.caller
        if caller is None or not caller.token.roles & set(roles):
            raise Problem(403, "role-missing", f"this needs a token with the role {' or '.join(roles)}")
        return caller

    return check


BEARER_TOKEN = [Security(BEARER)]
Reader = Annotated[Caller, Depends(permitted(Role.READ))]
Starter = Annotated[Caller, Depends(permitted(Role.START))]
Approver = Annotated[Caller, Depends(permitted(Role.APPROVE))]
Operator = Annotated[Caller, Depends(permitted(Role.START, Role.APPROVE))]
Alerter = Annotated[Caller, Depends(permitted(Role.ALERT, Role.START))]
