"""Every model that crosses a process boundary, so that one place tells what is on the wire.

Inputs refuse unknown fields (a typing error must not become a silent default); results and orders stay
open, so that a worker of the next version can read what this one wrote (docs/contract.md, Names).
"""

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """Something that a person or a tool sends: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(BaseModel):
    """Something that one part of this product sends to another: what is not known is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
