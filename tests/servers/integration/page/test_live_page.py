"""The live page in a real browser, against a real server whose steps wait for the test."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from tests.support.browser import OVERFLOW, PALE, visiting

pytestmark = [pytest.mark.loopback, pytest.mark.slow]

HOSTILE = "<img src=x onerror=alert(1)>"


def state(page):
    return page.locator("#execution-state")


def boxes(page):
    """The steps in their graph, each with its state."""
    return [text.split("\n") for text in page.locator(".graph li").all_inner_texts()]


def test_an_execution_is_seen_to_run(browser, live):
    execution = live.start(live.workflow("Slow one", "quick", "slow", "picky"), document="a.pdf")
    with visiting(browser, live.url) as page:
        page.goto(f"/#/executions/{execution}")
        expect(page.get_by_role("heading", level=1)).to_have_text("Slow one")
        expect(state(page)).to_have_text("Running")
        expect(page.get_by_role("link", name=re.compile("^quick .* Completed"))).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("^slow .* Running"))).to_have_attribute("aria-current", "true")
        expect(page.get_by_role("link", name=re.compile("^picky .* Pending"))).to_be_visible()
        expect(page.get_by_role("region", name="Given input")).to_contain_text('"document": "a.pdf"')
        # The step that runs is the one that is shown, with what it was given.
        expect(page.get_by_role("heading", name="Step slow")).to_be_visible()
        expect(page.get_by_role("region", name="Input", exact=True)).to_contain_text('"did_quick": true')
        page.get_by_role("link", name=re.compile("^quick")).press("Enter")
        expect(page.get_by_role("heading", name="Step quick")).to_be_visible()
        expect(page).to_have_url(re.compile(f"#/executions/{execution}/steps/quick$"))
        live.worker.gate.set()
        expect(state(page)).to_have_text("Completed")
        expect(page.get_by_role("region", name="Result")).to_contain_text('"did_picky": true')
        # Nothing that the reader chose is taken from them by that.
        expect(page.get_by_role("heading", name="Step quick")).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("^quick"))).to_be_focused()
        expect(page.locator("#said")).to_contain_text("Execution completed")
        page.get_by_text("What happened").click()
        expect(page.locator(".events li")).to_have_count(9)


def test_start_cancel_and_resume_with_nothing_but_keys(browser, live):
    live.workflow("By hand", "quick", "slow")
    with visiting(browser, live.url) as page:
        page.goto("/#/workflows")
        link = page.get_by_role("link", name="By hand")
        expect(link).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        tab_to(page, link)
        page.keyboard.press("Enter")
        # Who follows a link hears where they are.
        expect(page.get_by_role("heading", name="By hand")).to_be_focused()
        tab_to(page, page.get_by_label("Input (JSON object)"))
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type('{"big": 12345678901234567890}')
        tab_to(page, page.get_by_role("button", name="Start"))
        page.keyboard.press("Enter")
        expect(state(page)).to_have_text("Running")
        # An integer that JavaScript cannot hold is sent and shown as it was written.
        expect(page.get_by_role("region", name="Given input")).to_contain_text("12345678901234567890")
        tab_to(page, page.get_by_role("button", name="Cancel"))
        page.keyboard.press("Space")
        expect(state(page)).to_have_text("Cancelled")
        # The button is gone; the focus is where the news is.
        expect(state(page)).to_be_focused()
        expect(page.locator("#said")).to_contain_text("Cancelled")
        live.worker.gate.set()
        tab_to(page, page.get_by_role("button", name="Resume"))
        page.keyboard.press("Enter")
        expect(state(page)).to_have_text("Completed")
        expect(page.get_by_text("Run", exact=True).locator("xpath=following-sibling::dd")).to_have_text("2")


def tab_to(page, target):
    for _ in range(40):
        if target.evaluate("one => one === document.activeElement"):
            outlined = target.evaluate("one => getComputedStyle(one).outlineStyle")
            assert outlined != "none", "the focus is not to be seen"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached with the Tab key")


def test_a_failure_is_explained_and_resumed(browser, live):
    live.worker.refuses = True
    execution = live.start(live.workflow("Picky", "quick", "picky"), wait=10)
    with visiting(browser, live.url) as page:
        page.goto(f"/#/executions/{execution}")
        expect(state(page)).to_have_text("Failed")
        failure = page.locator("section", has=state(page)).locator(".note")
        expect(failure).to_contain_text("picky")
        expect(failure).to_contain_text("400")
        expect(page.get_by_role("link", name=re.compile("^picky .* Failed"))).to_have_attribute("aria-current", "true")
        live.worker.refuses = False
        page.get_by_role("button", name="Resume").click()
        expect(state(page)).to_have_text("Completed")
        expect(failure).to_have_count(0)


def test_what_others_do_is_seen(browser, live):
    execution = live.start(live.workflow("Elsewhere", "slow"))
    with visiting(browser, live.url) as page:
        page.goto(f"/#/executions/{execution}")
        expect(state(page)).to_have_text("Running")
        live.ask("POST", f"/executions/{execution}/cancel", {})
        expect(state(page)).to_have_text("Cancelled")
        live.ask("POST", f"/executions/{execution}/resume", {})
        expect(state(page)).to_have_text("Running")
        live.worker.gate.set()
        expect(state(page)).to_have_text("Completed")


def test_an_action_that_comes_too_late_says_why(browser, live):
    execution = live.start(live.workflow("Too late", "slow"))
    with visiting(browser, live.url, expected="409") as page:
        # What the page knows is old by the time of the click.
        page.route(re.compile("/events.*wait=5"), lambda route: None)
        page.goto(f"/#/executions/{execution}")
        expect(state(page)).to_have_text("Running")
        live.worker.gate.set()
        live.ask("GET", f"/executions/{execution}?wait=10")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("p.trouble")).to_contain_text("COMPLETED")
        expect(state(page)).to_have_text("Completed")
        page.unroute_all(behavior="ignoreErrors")


def test_the_input_is_checked_here_and_there(browser, live):
    workflow = live.workflow("Strict", "strict")
    with visiting(browser, live.url, expected="422") as page:
        page.goto(f"/#/workflows/{workflow}")
        given = page.get_by_label("Input (JSON object)")
        assert json.loads(given.input_value()) == {"document": "", "language": "en"}
        page.get_by_text("What the first step takes").click()
        expect(page.locator(".properties")).to_contain_text("Where the document is.")
        start = page.get_by_role("button", name="Start")

        given.fill('{\n  "document": }')
        start.click()
        expect(given).to_have_attribute("aria-invalid", "true")
        expect(given).to_be_focused()
        expect(given).to_have_accessible_description("Line 2, column 15 No JSON from here on: a value is missing")
        given.fill("[1]")
        start.click()
        expect(given).to_have_accessible_description("It has to be a JSON object: { ... }")

        text = '{"document": "a", "language": "fr",\n "deep": {"list": [1, "two"]}}'
        given.fill(text)
        expect(given).not_to_have_attribute("aria-invalid", "true")
        start.click()
        problems = page.get_by_role("button", name=re.compile("line"))
        expect(problems).to_have_count(2)
        page.get_by_role("button", name="deep.list.1 (line 2, column 23)").click()
        assert selected(given) == '"two"'
        page.get_by_role("button", name="language (line 1, column 31)").click()
        assert selected(given) == '"fr"'

        page.get_by_text("Context and timeout").click()
        seconds = page.get_by_label("Timeout in seconds")
        seconds.fill("soon")
        given.fill('{"document": "a", "language": "de"}')
        start.click()
        expect(seconds).to_have_accessible_description("A number of seconds, more than 0")
        seconds.fill("60")
        page.get_by_label("Context").fill('{"request_id": "from-the-page"}')
        start.click()
        expect(state(page)).to_have_text(re.compile("Completed|Failed"))
        expect(page.get_by_role("region", name="Context")).to_contain_text("from-the-page")
        # What was written is there for the next time.
        page.get_by_role("link", name="Start another").click()
        expect(page.get_by_label("Input (JSON object)")).to_have_value('{"document": "a", "language": "de"}')


def selected(given):
    return given.evaluate("one => one.value.slice(one.selectionStart, one.selectionEnd)")


def test_a_start_whose_answer_is_lost_starts_one_execution(browser, live):
    workflow = live.workflow("Once", "quick")
    with visiting(browser, live.url, expected="ERR_FAILED") as page:
        page.goto(f"/#/workflows/{workflow}")

        def lose(route):
            route.fetch()
            route.abort()

        page.route("**/execute", lose, times=1)
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_text("Press Start again")).to_be_visible()
        page.get_by_role("button", name="Start").click()
        expect(state(page)).to_have_text("Completed")
    assert live.ask("GET", f"/workflows/{workflow}/executions")["total"] == 1


def test_names_are_text_whatever_they_are(browser, live):
    live.ask(
        "POST",
        "/services",
        {
            "name": HOSTILE,
            "description": HOSTILE,
            "endpoint": live.worker.url,
            "actions": [{"name": "quick", "description": HOSTILE}],
            "metadata": {HOSTILE: HOSTILE},
        },
    )
    steps = [{"id": HOSTILE, "service": HOSTILE, "action": "quick", "next": None}]
    body = {"name": HOSTILE, "description": HOSTILE, "steps": steps, "metadata": {HOSTILE: HOSTILE}}
    workflow = live.ask("POST", "/workflows", body)["id"]
    live.worker.extra = {HOSTILE: HOSTILE}
    execution = live.start(workflow, wait=10, **{HOSTILE: HOSTILE})
    with visiting(browser, live.url) as page:
        paths = {
            "executions": "Executions",
            f"executions/{execution}": HOSTILE,
            "workflows": "Workflows",
            f"workflows/{workflow}": HOSTILE,
            "services": "Services",
        }
        for path, title in paths.items():
            page.goto(f"/#/{path}")
            expect(page.get_by_role("heading", level=1)).to_have_text(title)
            expect(page.locator("main").get_by_text(HOSTILE).locator("visible=true").first).to_be_visible()
            assert page.locator("img").count() == 0
        page.get_by_role("link", name=HOSTILE).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        expect(page.get_by_role("heading", name="quick")).to_be_visible()
        page.goto(f"/#/executions/{execution}/steps/{HOSTILE}")
        expect(page.get_by_role("heading", name=f"Step {HOSTILE}")).to_be_visible()
        expect(page.get_by_role("region", name="Output")).to_contain_text(HOSTILE)
        assert page.locator("img").count() == 0


def test_a_large_output_is_cut_and_all_there(browser, live):
    execution = live.start(live.workflow("Large", "big"), wait=10)
    with visiting(browser, live.url) as page:
        page.goto(f"/#/executions/{execution}")
        output = page.get_by_role("region", name="Output")
        expect(output).to_be_visible()
        assert len(output.inner_text()) < 20_000
        button = page.get_by_role("button", name="Show all (1.0 MB) of the output")
        button.press("Enter")
        page.wait_for_function("document.querySelectorAll('pre')[1].textContent.length > 1_000_000")
        less = page.get_by_role("button", name="Show less of the output")
        expect(less).to_be_focused()
        expect(less).to_have_attribute("aria-expanded", "true")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the output").click()
        assert len(json.loads(download.value.path().read_text())["text"]) == 1_000_000


def test_services_and_their_health(browser, live):
    with visiting(browser, live.url) as page:
        page.goto("/#/services")
        row = page.get_by_role("row", name=re.compile("worker"))
        expect(row).to_contain_text("not checked")
        page.get_by_role("button", name="Check health").press("Enter")
        expect(row).to_contain_text("Healthy")
        expect(page.locator("#said")).to_contain_text("healthy")
        row.get_by_role("link", name="worker").click()
        expect(page.get_by_text("Circuit breaker")).to_be_visible()
        expect(page.get_by_role("heading", name="strict")).to_be_visible()
        page.get_by_text("Input", exact=True).click()
        expect(page.get_by_role("region", name="Input of strict")).to_contain_text("Where the document is.")


def test_many_executions_are_on_pages(browser, live):
    workflow = live.workflow("Many", "quick")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: live.start(workflow), range(51)))
    live.start(live.workflow("Held", "slow"))
    with visiting(browser, live.url) as page:
        page.goto("/#/executions")
        page.get_by_role("combobox", name="Workflow").select_option("Many")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(25)
        expect(page.get_by_role("navigation", name="Pages")).to_contain_text("Page 1 of 3, 51 executions")
        page.get_by_role("link", name="Next").press("Enter")
        expect(page.get_by_role("navigation", name="Pages")).to_contain_text("Page 2 of 3")
        expect(page.get_by_role("link", name="Next")).to_be_focused()
        page.get_by_role("link", name="Next").press("Enter")
        expect(rows).to_have_count(1)
        # The link has become useless, and the focus goes where it is of use.
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        page.get_by_role("link", name="Running").click()
        expect(page.locator("main")).to_contain_text("No execution is like this")
        page.get_by_role("combobox", name="Workflow").select_option("All workflows")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("Held")
        page.go_back()
        expect(page.get_by_role("combobox", name="Workflow")).to_have_value(workflow)
        page.get_by_role("link", name="All", exact=True).click()
        expect(rows).to_have_count(25)
        # A new one comes to the top while the list is looked at, and the focus stays.
        page.get_by_role("link", name="Completed").focus()
        newest = live.start(workflow, wait=10)
        expect(rows.first).to_contain_text(newest[:8])
        expect(page.get_by_role("link", name="Completed")).to_be_focused()


def test_a_server_that_is_away_is_waited_for(browser, live):
    execution = live.start(live.workflow("Interrupted", "slow"))
    with visiting(browser, live.url, expected="ERR_INTERNET_DISCONNECTED") as page:
        page.goto(f"/#/executions/{execution}")
        expect(state(page)).to_have_text("Running")
        page.context.set_offline(True)
        said = page.locator("#connection-text")
        expect(said).to_contain_text("The server does not answer. The page shows what it knew at")
        expect(state(page)).to_have_text("Running")
        live.worker.gate.set()
        live.ask("GET", f"/executions/{execution}?wait=10")
        page.get_by_role("button", name="Try now").focus()
        page.context.set_offline(False)
        page.keyboard.press("Enter")
        expect(state(page)).to_have_text("Completed")
        expect(page.locator("#connection")).to_be_hidden()
        expect(page.locator("#said")).to_contain_text("The server answers again")
        expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_pages_of_other_sites_cannot_do_anything(browser, live):
    execution = live.start(live.workflow("Attacked", "slow"))
    attack = "url => fetch(url, {method: 'POST', mode: 'no-cors', body: '{}'}).then(answer => answer.type)"
    context = browser.new_context()
    try:
        page = context.new_page()
        # The same machine, another port: the same site for the browser, and its cookies would be sent.
        page.goto(live.worker.url)
        assert page.evaluate(attack, f"{live.url}/api/executions/{execution}/cancel") == "opaque"
        assert live.ask("GET", f"/executions/{execution}")["status"] in {"PENDING", "RUNNING"}
        page.goto(live.url)
        assert page.evaluate(attack, f"/api/executions/{execution}/cancel") == "basic"
        assert live.ask("GET", f"/executions/{execution}")["status"] == "CANCELLED"
    finally:
        context.close()


def test_what_is_not_there(browser, live):
    with visiting(browser, live.url, expected="404") as page:
        for path in ("executions/none", "workflows/none", "services/none"):
            page.goto(f"/#/{path}")
            expect(page.get_by_role("heading", level=1)).to_have_text("Not here")
        page.goto("/#/constructor")
        expect(page.locator("main")).to_contain_text("There is no such page")


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (600, "dark")])
def test_every_view_fits_and_can_be_read(browser, live, width, scheme):
    name = "a_name_that_is_long_and_has_no_place_to_break_" * 4
    live.worker.refuses = True
    workflow = live.workflow(name, "quick", "picky", "slow", "big")
    failed = live.start(workflow, wait=10)
    running = live.start(live.workflow("Slow", "slow"))
    service = live.ask("GET", "/services?per_page=100")["items"][-1]["id"]
    paths = {
        "executions": "Executions",
        f"executions/{failed}": name,
        "workflows": "Workflows",
        f"workflows/{workflow}": name,
        "services": "Services",
        f"services/{service}": "worker",
        f"executions/{running}": "Slow",
    }
    with visiting(browser, live.url, width=width, scheme=scheme, still=True) as page:
        for path, title in paths.items():
            page.goto(f"/#/{path}")
            expect(page.get_by_role("heading", level=1)).to_have_text(title)
            assert page.evaluate(OVERFLOW) <= 0, path
            assert page.evaluate(PALE) == [], path
        expect(page.locator(".box.running")).to_have_css("animation-name", "none")
