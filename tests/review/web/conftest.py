"""Pages asked over HTTP without a browser."""

import html
import re

import pytest

import made_reviews

CODES = {"r1": "reader", "r2": "reader", "v1": "reviewer", "a1": "admin"}
TOKENS = {code: f"{code}-with-a-long-token" for code in CODES}


def fields(page: str, action: str) -> dict[str, str]:
    """Hidden fields of the form that goes to ``action``."""
    found = re.search(rf'<form method="post" action="{action}".*?</form>', page, re.S)
    assert found is not None, page
    pairs = re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', found.group())
    return {name: html.unescape(value) for name, value in pairs}


class Pages:
    """A person at the pages."""

    def __init__(self, app, code):
        from starlette.testclient import TestClient

        self.client = TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)
        self.client.cookies.set("vlmcal_review", TOKENS[code])

    def get(self, path, status=200, **query):
        answer = self.client.get(path, params=query or None)
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return answer.text

    def send(self, page, action, status=303, **values):
        answer = self.client.post(action, data={**fields(page, action), **values})
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return answer.headers.get("location") or answer.text


@pytest.fixture
def desk(tmp_path):
    """Makes a review with the given settings; ``desk.at(code)`` are the pages of one person."""
    from vlmcal.review.web.access import several_people
    from vlmcal.review.web.app import create_app

    users = tmp_path / "users.csv"
    users.write_text("".join(f"{code},{role},{TOKENS[code]}\n" for code, role in CODES.items()))
    users.chmod(0o600)

    class Desk:
        review = None

        def of(self, *only, **policy):
            from vlmcal.review.policy import Policy

            chosen = {"threshold": 0.9, "blind_share": 0.0, "critical": ("melanoma",), **policy}
            self.review = made_reviews.review(tmp_path, Policy(**chosen), only)
            self.app = create_app(self.review, several_people(users), hosts=["review.example"])
            return self

        def at(self, code="r1"):
            return Pages(self.app, code)

    return Desk()


@pytest.fixture
def small_review():
    """Makes a review of ``n`` plain cases without images."""
    from vlmcal.review.case import Case
    from vlmcal.review.database import Review
    from vlmcal.review.triage import Source

    def made(path, n, policy):
        classes = ("benign", "malignant")
        cases = [
            Case(id=f"case {i}", classes=classes, p=(0.6, 0.4), predicted="benign", confidence=0.6)
            for i in range(n)
        ]
        return Review.create(path, Source(cases, classes), policy)

    return made
