"""The server as a process of its own: eight people at once, and killed in the middle."""

import http.client
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

from vlmcal.errors import DataError, SpecError, StoreError
from vlmcal.review.database import Review
from vlmcal.review.policy import Policy
from vlmcal.review.web.access import several_people
from vlmcal.review.web.serve import serve

CODE = """
import sys
from pathlib import Path
from vlmcal.review.web.serve import serve
serve(sys.argv[1], port=0, browser=False, users=Path(sys.argv[2]), told=lambda line: print(line, flush=True))
"""
READERS, ENOUGH = 8, 48


def act(port, token, form, cases, acknowledged, enough):
    """Answer case after case; what the server acknowledged is noted, until it is gone."""
    try:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for item in cases:
            body = urlencode({"form": form, "item": item, "choice": "c1"})
            headers = {
                "cookie": f"vlmcal_review_{port}={token}",
                "content-type": "application/x-www-form-urlencoded",
            }
            line.request("POST", "/answer", body, headers)
            answer = line.getresponse()
            answer.read()
            assert answer.status == 303, answer.status
            acknowledged.append(item)
            if len(acknowledged) * READERS >= ENOUGH:
                enough.set()
    except (OSError, http.client.HTTPException):
        pass  # killed


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_by_a_kill(tmp_path, small_review):
    small_review(tmp_path / "review.sqlite", 40, Policy(mode="blind", readers=READERS))
    users = tmp_path / "users.csv"
    users.write_text("".join(f"r{i},reader,a-token-of-reader-{i}\n" for i in range(READERS)))
    users.chmod(0o600)
    command = [sys.executable, "-c", CODE, str(tmp_path / "review.sqlite"), str(users)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        people = several_people(users).by_code
        items = [case.id for case in Review.open(tmp_path / "review.sqlite").cases()]
        done, enough = [[] for _ in range(READERS)], threading.Event()
        threads = [
            threading.Thread(
                target=act,
                args=(
                    port,
                    f"a-token-of-reader-{i}",
                    people[f"r{i}"].form_token,
                    items,
                    done[i],
                    enough,
                ),
            )
            for i in range(READERS)
        ]
        for thread in threads:
            thread.start()
        assert enough.wait(120)
        server.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join(60)
    finally:
        server.kill()
        server.wait()
    review = Review.open(tmp_path / "review.sqlite")
    assert review.verify().whole
    kept = {(e.user_code, e.item) for e in review.events(kind="final")}
    acknowledged = {(f"r{i}", item) for i, items in enumerate(done) for item in items}
    assert acknowledged
    assert acknowledged <= kept


def test_what_cannot_be_served_is_said(tmp_path, small_review):
    import socket

    db = tmp_path / "review.sqlite"
    with pytest.raises(StoreError, match="no such review"):
        serve(db, browser=False)
    small_review(db, 2, Policy())
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SpecError, match="another --port"),
    ):
        serve(db, port=taken.getsockname()[1], browser=False)
    with pytest.raises(SpecError, match="--users FILE"):
        serve(db, port=0, browser=False, header="X-Remote-User")
    with pytest.raises(DataError, match="cannot be read as a file of users"):
        serve(db, port=0, browser=False, users=tmp_path / "absent.csv")


def test_one_person_is_told_a_link_with_a_token(tmp_path, small_review, monkeypatch):
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    small_review(tmp_path / "review.sqlite", 2, Policy())
    said = []
    for _ in range(2):
        serve(tmp_path / "review.sqlite", port=0, browser=False, told=said.append)
    links = [re.search(r"http://127\.0\.0\.1:\d+/\?token=(\S{32})$", line) for line in said]
    tokens = [found[1] for found in links if found]
    assert len(set(tokens)) == 2


def test_the_commands_of_the_guide(tmp_path, monkeypatch):
    """As shown, on a small table; the server itself is left out."""
    import webbrowser

    import uvicorn
    from typer.testing import CliRunner

    from vlmcal.cli.app import app

    guide = (Path(__file__).parents[3] / "docs" / "guides" / "review.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(webbrowser, "open", lambda link: True)
    rows = "".join(f"{i},0.8,0.2,cat\n" for i in range(4))
    Path("predictions.csv").write_text("id,cat,dog,label\n" + rows)
    Path("users.csv").write_text(re.search(r"```\n(r1,reader.*?)```", guide, re.S)[1])
    Path("users.csv").chmod(0o600)
    commands = re.findall(r"^vlmcal (review predictions\.csv .*)$", guide, re.M)
    assert any("--users" in each for each in commands)
    for command in commands:
        done = CliRunner().invoke(app, [*command.split(), "--port", "0"])
        assert done.exit_code == 0, done.output
        assert "http://127.0.0.1:" in done.output
