"""Write the pictures of docs/guides/review.md: the pages of a review of made images, in headless Chromium."""

import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import made_reviews
from vlmcal.review.policy import Policy
from vlmcal.review.web.access import one_person
from vlmcal.review.web.app import create_app

TARGET = Path(__file__).parent.parent / "docs" / "images"
TOKEN = "a-token-of-some-length"
LESIONS = ("lesion-007", "lesion-014", "lesion-030", "series-1")
WIDE, PHONE = {"width": 1200, "height": 760}, {"width": 390, "height": 760}


def shoot(page: Page, name: str) -> None:
    """One picture, in few colours so that it is small."""
    file = TARGET / f"review-{name}.png"
    page.screenshot(path=file, animations="disabled")
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size / 1024:.0f} KB")


def main() -> None:
    """Serve, look, write."""
    with tempfile.TemporaryDirectory() as folder:
        policy = Policy(threshold=0.9, blind_share=0.0, critical=("melanoma",))
        review = made_reviews.review(Path(folder), policy, LESIONS)
        listening = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = create_app(review, one_person(TOKEN))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport=WIDE)
                page.goto(f"{address}/?token={TOKEN}")
                shoot(page, "queue")
                page.goto(f"{address}/case?item=lesion-014")
                shoot(page, "answer")
                page.keyboard.press("1")
                page.keyboard.press("Enter")
                page.wait_for_selector("#model")
                shoot(page, "model")
                dark = browser.new_page(viewport=PHONE, color_scheme="dark")
                dark.goto(f"{address}/?token={TOKEN}")
                dark.goto(f"{address}/case?item=lesion-014")
                shoot(dark, "phone")
                browser.close()
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
