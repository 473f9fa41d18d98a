"""Pages for people: one replacement for a post-mortem, and the list; each is one file that needs nothing else."""

from replace_etcd.audit.views import Page, Story


def replacement_page(story: Story) -> str:
    """One replacement as a self-contained HTML page."""
    return f"<!doctype html><title>{story.replacement.run_id}</title>"


def list_page(page: Page) -> str:
    """A list of replacements as a self-contained HTML page; each links to `/replacements/RUN_ID`."""
    return f"<!doctype html><title>{len(page.items)} replacements</title>"
