"""Pages for people: one replacement for a post-mortem, and the list; each is one file that needs nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from replace_etcd import __version__
from replace_etcd.audit.events import ANSWERS, AuditEvent, EventKind
from replace_etcd.audit.timeline import lasted, timeline_of
from replace_etcd.audit.views import Page, ReplacementView, Story
from replace_etcd.models.plan import Member

GOOD = ("replaced", "planned")
BAD = ("left_incomplete", "interrupted")
SAID = (EventKind.ALERT, EventKind.ASKED, *ANSWERS, EventKind.REJECTED, EventKind.INTERRUPTED)


@dataclass(frozen=True)
class MemberRow:
    """A member as it was before and after."""

    name: str
    peer_urls: str
    before: str
    after: str
    change: str


def replacement_page(story: Story) -> str:
    """One replacement as a self-contained HTML page."""
    view = story.replacement
    end = view.finished_at or story.events[-1].at
    return _template("replacement.html").render(
        story=story,
        view=view,
        timeline=timeline_of(story),
        members=member_rows(story.members_before, story.members_after),
        said=[event for event in story.events if event.kind in SAID],
        took=lasted((end - view.started_at).total_seconds()),
        version=__version__,
    )


def list_page(page: Page, next_link: str | None = None) -> str:
    """A list of replacements as a self-contained HTML page; each links to `/replacements/RUN_ID`."""
    return _template("list.html").render(page=page, next_link=next_link, version=__version__)


def member_rows(before: list[Member], after: list[Member]) -> list[MemberRow]:
    """By name, since the new member has the name of the old one and another id."""
    names = dict.fromkeys(_name(member) for member in [*before, *after])
    return [
        _member_row(
            name,
            [member for member in before if _name(member) == name],
            [member for member in after if _name(member) == name],
            known=bool(after),
        )
        for name in sorted(names)
    ]


def _member_row(name: str, before: list[Member], after: list[Member], *, known: bool) -> MemberRow:
    old, new = ", ".join(map(_described, before)), ", ".join(map(_described, after))
    if not known:
        new, change = "not recorded", ""
    elif [member.id for member in before] == [member.id for member in after]:
        change = ""
    else:
        change = "replaced" if before and after else "removed" if before else "added"
    urls = ", ".join((after or before)[0].peer_urls)
    return MemberRow(name, urls, old or "—", new or "—", change)


def _described(member: Member) -> str:
    state = "learner" if member.learner else "voter" if member.started else "not started"
    return f"{member.id} ({state})"


def _name(member: Member) -> str:
    """A member that has not started has no name yet, but the address of its pod."""
    return member.name or (member.peer_urls[0].partition("://")[2].partition(".")[0].partition(":")[0])


def _css(view: ReplacementView) -> str:
    outcome = view.outcome.value if view.outcome else ""
    return "good" if outcome in GOOD else "bad" if outcome in BAD else "open" if not outcome else "mild"


def _words(event: AuditEvent) -> str:
    """What was asked or said, in one line."""
    data = event.data
    if event.kind is EventKind.ASKED:
        return f"{data.get('reason') or 'asks'} ({', '.join(data.get('choices', []))})"
    if event.kind is EventKind.REJECTED:
        return f"{data.get('update')} was not taken: {data.get('why')}"
    if event.kind is EventKind.ALERT:
        return f"{data.get('source')}: {data.get('state')}"
    parts = (data.get("choice"), data.get("comment") or data.get("reason"))
    return ": ".join(part for part in parts if part)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("replace_etcd.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[[Any], str]] = {
        "moment": lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "—",
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "lasted": lambda delta: lasted(delta.total_seconds()),
        "css": _css,
        "words": _words,
    }
    environment.filters |= filters
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)
