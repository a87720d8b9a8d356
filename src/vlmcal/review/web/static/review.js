// Keys, zoom and window without a reload. Every page works without this file: what it does, forms and links do, too.
"use strict";
(() => {
  const one = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];

  // ---- saved: said once the page is there, so that a screen reader says it
  const said = one("#said");
  if (said && said.textContent.trim()) {
    const text = said.textContent.trim();
    said.textContent = "";
    setTimeout(() => { said.textContent = text; }, 100);
    history.replaceState(null, "", withoutSaid(location.href)); // not said again on reload
  }
  function withoutSaid(address) {
    const url = new URL(address);
    url.searchParams.delete("said");
    return url.href;
  }

  // ---- a form is sent once
  for (const form of all("form[method=post]")) {
    form.addEventListener("submit", () => {
      setTimeout(() => all("button", form).forEach((button) => { button.disabled = true; }), 0);
    });
  }
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // ---- what a choice asks for appears with it
  for (const part of all("[data-with]")) {
    const form = part.closest("form");
    const show = () => {
      const chosen = one(`input[name="${part.dataset.with}"]:checked`, form);
      part.hidden = !chosen || !part.dataset.values.split(" ").includes(chosen.value);
    };
    form.addEventListener("change", show);
    show();
  }

  // ---- the reason is asked for before the form is sent
  for (const reason of all("form #reason")) {
    const form = reason.closest("form"), note = one("#note", form);
    const ask = () => {
      const needed = one("input[data-reason]:checked", form) && !note.value.trim();
      reason.required = Boolean(needed);
    };
    form.addEventListener("change", ask);
    note.addEventListener("input", ask);
    ask();
  }

  // ---- keys
  const off = () => localStorage.getItem("vlmcal-keys") === "off";
  const toggle = one("#keys");
  if (toggle) {
    toggle.closest("p").hidden = false;
    toggle.checked = !off();
    toggle.addEventListener("change", () => localStorage.setItem("vlmcal-keys", toggle.checked ? "on" : "off"));
  }
  const typing = (element) => element.matches("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox])");
  const press = (query) => { const found = one(query); if (found) found.click(); return Boolean(found); };
  addEventListener("keydown", (event) => {
    if (off() || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const here = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Enter") {
      if (typing(here) || here.closest("a, button, summary")) return; // these know what Enter does
      const form = one("form[data-main]");
      if (form) { event.preventDefault(); form.requestSubmit(one("button.main", form)); }
      return;
    }
    if (typing(here)) return;
    let done = false;
    if (/^[0-9]$/.test(event.key)) {
      const choice = one(`form[data-main] [data-key="${event.key}"]`);
      const pick = one("form[data-main] [data-pick]");
      if (choice) {
        choice.click();
        choice.focus();
        done = true;
      } else if (pick && event.key !== "0" && pick.options[Number(event.key)]) {
        one("form[data-main] [value=change]").click();
        pick.selectedIndex = Number(event.key); // the first option is "in words"
        pick.focus();
        done = true;
      }
    } else {
      const query = { u: "[data-key=U]", n: "[data-key=N]", p: "[data-key=P]", "?": "[data-key='?']" }[event.key.toLowerCase()];
      done = Boolean(query) && press(query);
    }
    if (done) event.preventDefault();
  });

  // ---- image: zoom by buttons or Ctrl and wheel; pan by scrolling or dragging; Shift and drag sets the window
  for (const view of all(".view")) {
    const image = one("img", view);
    if (!image) continue;
    const fit = () => { // a small picture fills the frame, at most eight times enlarged
      view.classList.toggle("coarse", image.naturalWidth < 200);
      const tall = 0.72 * innerHeight * image.naturalWidth / Math.max(image.naturalHeight, 1);
      const wide = Math.min(view.clientWidth, tall, 8 * image.naturalWidth);
      if (image.naturalWidth && factor === 1) image.style.width = `${Math.floor(wide) - 4}px`;
    };
    let factor = 1, base = 0;
    addEventListener("resize", fit);
    image.addEventListener("load", fit);
    if (image.complete) fit();
    const bar = one(`[data-zoom="${view.id}"]`);
    const zoom = (to, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
      if (factor === 1) base = image.getBoundingClientRect().width;
      const next = Math.min(16, Math.max(1, to));
      const ratio = next / factor;
      const left = (view.scrollLeft + x) * ratio - x, top = (view.scrollTop + y) * ratio - y;
      factor = next;
      view.classList.toggle("zoomed", factor > 1);
      image.style.width = `${base * factor}px`;
      view.scrollTo(left, top);
      one("output", bar).textContent = `${Math.round(factor * 100)} %`;
    };
    bar.hidden = false;
    bar.addEventListener("click", (event) => {
      const step = event.target.closest("button")?.dataset.step;
      if (step) zoom(step === "fit" ? 1 : factor * Number(step));
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const box = view.getBoundingClientRect();
      zoom(factor * (event.deltaY < 0 ? 1.25 : 0.8), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });

    const form = one(`form[data-window="${view.id}"]`);
    let wanted = null, loading = false;
    const load = () => {
      if (loading || wanted === null) return;
      loading = true;
      const source = wanted;
      wanted = null;
      const next = new Image();
      next.onload = () => { image.src = source; loading = false; load(); };
      next.onerror = () => { loading = false; if (said) said.textContent = "The image cannot be shown like this."; load(); };
      next.src = source;
    };
    const again = (whole) => {
      const fields = new URLSearchParams(new FormData(form));
      const url = new URL(image.src);
      url.searchParams.delete("window");
      if (whole) fields.set("window", "whole");
      for (const [name, value] of fields) url.searchParams.set(name, value);
      wanted = url.href;
      load();
    };
    if (form) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        const whole = event.submitter?.value === "whole";
        if (whole) { for (const name of ["level", "width"]) if (form.elements[name]) form.elements[name].value = ""; }
        again(whole);
      });
      form.addEventListener("change", () => again(false));
    }
    let from = null;
    view.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" || event.button !== 0) return; // touch scrolls by itself
      const level = form?.elements.level, width = form?.elements.width;
      const start = level && { level: Number(level.value || level.placeholder), width: Number(width.value || width.placeholder) };
      if (!event.shiftKey && factor === 1) return;
      from = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop, start: event.shiftKey ? start : null };
      view.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    view.addEventListener("pointermove", (event) => {
      if (!from) return;
      const x = event.clientX - from.x, y = event.clientY - from.y;
      if (from.start) {
        const unit = Math.max(from.start.width, 1) / 300;
        form.elements.level.value = Math.round(from.start.level + y * unit);
        form.elements.width.value = Math.max(1, Math.round(from.start.width + x * unit));
        again(false);
      } else {
        view.scrollTo(from.left - x, from.top - y);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => { from = null; });
  }
})();
