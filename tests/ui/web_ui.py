"""Temporal's Web UI in the system's Chromium: the three pages that people of this project use."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright, expect

WITHIN_MS = 60_000
FORM = "start-workflow?workflowId={}&taskQueue=replace-etcd&workflowType=ReplaceEtcdReplica"


class WebUi:
    """One window."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._workflows = f"{address}/namespaces/default/workflows"

    async def fill_in_the_start_form(self, workflow_id: str, data: str) -> None:
        """As the README says: three fields by the address, the JSON typed into *Data*."""
        await self._open(FORM.format(workflow_id))
        await expect(self.page.get_by_text("Task Queue is Active")).to_be_visible()
        field = self.page.locator(".cm-content").first
        await field.click()
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.insert_text(data)
        # Whoever leaves the field has the JSON indented, and the button moves away from under the first click.
        await self.page.get_by_role("heading", name="Start Workflow").click()
        await expect(field.locator(".cm-line").nth(1)).to_be_visible()

    async def start(self) -> None:
        """Press the button."""
        await self.page.get_by_test_id("start-workflow-button").last.click()
        await self._see("Workflow started successfully")

    async def timeline(self, workflow_id: str, *texts: str) -> None:
        """The page on which a workflow opens, once these words are on it."""
        await self._open(workflow_id)
        await self._see(*texts)

    async def details(self, workflow_id: str, *texts: str) -> None:
        """The tab User Metadata, once these words are on it."""
        await self._open(workflow_id)
        await self.page.get_by_text("User Metadata").first.click()
        markdown = self.page.frame_locator(
            "iframe"
        ).last  # each text has a frame of its own, current details the last
        for text in texts:
            await expect(markdown.get_by_text(text).first).to_be_visible()

    async def picture(self, path: Path) -> None:
        """What the window shows."""
        await self.page.screenshot(path=path)

    async def _open(self, path: str) -> None:
        await self.page.goto(f"{self._workflows}/{path}", wait_until="domcontentloaded")

    async def _see(self, *texts: str) -> None:
        for text in texts:
            await expect(self.page.get_by_text(text).first).to_be_visible()


@asynccontextmanager
async def web_ui(address: str, *, height: int = 900) -> AsyncIterator[WebUi]:
    """A window of a browser that ends with the block."""
    expect.set_options(timeout=WITHIN_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = await browser.new_page(viewport={"width": 1400, "height": height})
        page.set_default_timeout(WITHIN_MS)
        yield WebUi(page, address)
        await browser.close()
