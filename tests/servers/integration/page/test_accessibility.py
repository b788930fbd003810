"""What Chromium tells assistive technology about the live page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import visiting

pytestmark = [pytest.mark.loopback, pytest.mark.slow]


def test_the_frame(browser, live):
    with visiting(browser, live.url) as page:
        page.goto("/#/services")
        expect(page.get_by_role("heading", level=1)).to_have_text("Services")
        expect(page.locator("body")).to_match_aria_snapshot(
            """
            - link "Skip to content"
            - banner:
              - paragraph: Holdfast Service Integration
              - navigation "Sections":
                - link "Executions"
                - link "Workflows"
                - link "Services"
                - link "About"
            - main:
              - heading "Services" [level=1]
              - paragraph:
                - button "Check health"
                - checkbox "every 10 s"
              - region "Services":
                - table "Services, the newest first":
                  - rowgroup:
                    - row:
                      - columnheader "Service"
                      - columnheader "Actions"
                      - columnheader "State"
                      - columnheader "Health"
                  - rowgroup:
                    - row:
                      - rowheader /worker/:
                        - link "worker"
                      - cell "5 actions"
                      - cell "Active"
                      - cell "not checked"
              - navigation "Pages": 1 service
            - status
            """
        )
        expect(page).to_have_title("Services · Service Integration · Holdfast")
        assert page.locator("nav a[aria-current=page]").all_inner_texts() == ["Services"]


@pytest.mark.parametrize("width", [1200, 360])
def test_an_execution(browser, live, width):
    execution = live.start(live.workflow("Two steps", "quick", "slow"))
    with visiting(browser, live.url, width=width) as page:
        page.goto(f"/#/executions/{execution}")
        expect(page.locator(".box.running")).to_be_visible()
        expect(page.locator("main")).to_match_aria_snapshot(
            """
            - main:
              - heading "Two steps" [level=1]
              - region "State":
                - paragraph: Running
                - button "Cancel"
                - link "Start another"
              - region "Steps":
                - heading "Steps" [level=2]
                - list:
                  - listitem:
                    - link /quick worker · quick Completed \\d+/
                  - listitem:
                    - link /slow worker · slow Running \\d+ s so far/
              - region "Step slow":
                - heading "Step slow" [level=2]
                - heading "Input" [level=3]
                - button "Download the input"
                - region "Input"
                - heading "Output" [level=3]
                - paragraph: Not yet.
              - region "Whole execution":
                - heading "Whole execution" [level=2]
                - region "Given input"
                - heading "Result" [level=3]
              - region "What happened":
                - group:
                  - heading "What happened" [level=2]
            """
        )


def test_the_form(browser, live):
    workflow = live.workflow("Strict", "strict")
    with visiting(browser, live.url) as page:
        page.goto(f"/#/workflows/{workflow}")
        expect(page.locator("main")).to_match_aria_snapshot(
            """
            - region "Start":
              - heading "Start" [level=2]
              - text: Input (JSON object)
              - textbox "Input (JSON object)"
              - group: What the first step takes
              - group: Context and timeout
              - paragraph:
                - button "Start"
            """
        )


def test_a_list_stays_a_table_on_a_narrow_screen(browser, live):
    live.start(live.workflow("Listed", "quick"), wait=10)
    with visiting(browser, live.url, width=360) as page:
        page.goto("/#/executions")
        expect(page.locator("main")).to_match_aria_snapshot(
            """
            - navigation "By state":
              - link /All \\d+/
              - link /Pending \\d+/
              - link /Running \\d+/
              - link /Completed \\d+/
              - link /Failed \\d+/
              - link /Cancelled \\d+/
            - text: Workflow
            - combobox "Workflow"
            - region "Executions":
              - table "Executions, the newest first":
                - rowgroup:
                  - row:
                    - columnheader "Execution"
                    - columnheader "State"
                    - columnheader "Started"
                    - columnheader "Duration"
                - rowgroup:
                  - row:
                    - rowheader:
                      - link /Listed [0-9a-f]{8}/
                    - cell "Completed"
                    - cell:
                      - time
                    - cell
            """
        )
