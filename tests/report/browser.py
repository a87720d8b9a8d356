"""What a page measures in headless Chromium: its width, what is cut, and how small its letters are."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--allow-file-access-from-files", "--virtual-time-budget=5000"),
)
# The page forbids scripts; the one that measures stands around it, in a frame as wide as the screen.
FRAME = """<!doctype html><meta charset="utf-8"><pre id="out">nothing</pre>
<iframe id="page" src="{url}" style="border:0;width:{width}px;height:900px"></iframe>
<script>
document.getElementById("page").onload = function () {{
  const d = this.contentDocument, w = this.contentWindow, letters = [], wide = [], cut = [];
  const walk = d.createTreeWalker(d.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {{
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim().slice(0, 40);
    if (!text || e.closest(".sr, style, title, desc")) continue;
    const scale = e.getScreenCTM ? Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b) : 1;
    letters.push([parseFloat(w.getComputedStyle(e).fontSize) * scale, text]);
  }}
  for (const e of d.querySelectorAll("body *")) {{
    const over = e.getBoundingClientRect().right > d.documentElement.clientWidth + 1;
    if (over && !e.closest(".scroll, .strip, svg")) wide.push(e.tagName + "." + e.className);
  }}
  for (const e of d.querySelectorAll(".scroll"))
    if (e.scrollWidth > e.clientWidth + 1)
      cut.push([e.getAttribute("aria-label"), e.scrollWidth, e.clientWidth]);
  letters.sort((a, b) => a[0] - b[0]);
  document.getElementById("out").textContent = JSON.stringify({{
    width: d.documentElement.scrollWidth, screen: d.documentElement.clientWidth,
    height: d.documentElement.scrollHeight, letters: letters.slice(0, 8), wide: wide.slice(0, 8), cut: cut
  }});
}};
</script>
"""


def run(folder: Path, *arguments: str) -> str:
    """Standard output of Chromium with a fresh profile in ``folder``."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def measure(page: Path, width: int, folder: Path) -> dict:
    """Measures of ``page`` on a screen of ``width`` CSS pixels."""
    frame = folder / f"frame-{width}.html"
    frame.write_text(FRAME.format(url=page.resolve().as_uri(), width=width))
    shown = run(folder, "--dump-dom", f"--window-size={width + 50},1100", frame.resolve().as_uri())
    match = re.search(r'<pre id="out">(.*?)</pre>', shown, re.S)
    assert match is not None, shown[:2000]
    return json.loads(html.unescape(match.group(1)))
