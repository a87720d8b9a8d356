"""A real browser for the pages: Debian's chromium through Playwright; nothing is downloaded."""

import os
import shutil
import socket
import threading

import pytest

NEEDED = os.environ.get("VLMCAL_BROWSER") == "1"
TIMEOUT = 30_000  # milliseconds; generous, for a machine that does much else


def missing():
    try:
        import axe_playwright_python  # noqa: F401
        import playwright  # noqa: F401
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed"
    return "" if shutil.which("chromium") else "there is no chromium (apt-get install chromium)"


@pytest.fixture(scope="module")  # its loop runs until it ends, and no other test could start one
def browser():
    why = missing()
    if why and NEEDED:
        pytest.fail(f"VLMCAL_BROWSER=1, but {why}", pytrace=False)
    if why:
        pytest.skip(f"THE PAGES WERE NOT TESTED IN A BROWSER: {why}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


def is_problem(said):
    """Errors, apart from the browser's remark that a form was refused (422), which the page says itself."""
    return said.type == "error" and "status of 422" not in said.text


@pytest.fixture
def open_page(browser):
    """Opens pages as one user would; at the end no error was logged and no other host was asked."""
    contexts, problems, hosts = [], [], set()

    def opened(address, **settings):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: problems.append(said.text) if is_problem(said) else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
    assert len(hosts) <= 1, hosts


class Desk:
    """A review that is served on a free port for one test."""

    token = "a-token-of-some-length"

    def __init__(self, folder):
        self.folder, self.server = folder, None

    def of(self, *only, **policy):
        """Serves the made cases with this policy; gives the link of the one person."""
        import made_reviews
        from vlmcal.review.policy import Policy
        from vlmcal.review.web.access import one_person
        from vlmcal.review.web.app import create_app

        chosen = {"threshold": 0.9, "blind_share": 0.0, "critical": ("melanoma",), **policy}
        self.review = made_reviews.review(self.folder, Policy(**chosen), only)
        return self.serve(create_app(self.review, one_person(self.token)))

    def serve(self, app):
        import uvicorn

        listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()
        return f"{self.address}/?token={self.token}"

    def done(self, item):
        return [(e.event, e.value) for e in self.review.events(item)]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    if desk.server is not None:
        desk.server.should_exit = True
        desk.thread.join(TIMEOUT / 1000)
