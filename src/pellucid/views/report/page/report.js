"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const panelOf = (tab) => document.getElementById(tab.dataset.panel);
  const keyOf = (tab) => panelOf(tab).dataset.key ?? tab.dataset.panel;
  document.documentElement.classList.add("js");

  // Tabs: one is chosen, arrow keys move, the page has one Tab stop per list.
  function choose(tab) {
    for (const other of all("button", tab.parentElement)) {
      const mine = other === tab;
      other.setAttribute("aria-selected", String(mine));
      other.tabIndex = mine ? 0 : -1;
      panelOf(other).hidden = !mine;
    }
  }

  // The same method stays in front when another class is looked at.
  function chooseEverywhere(tab) {
    choose(tab);
    for (const list of all(".tabs.methods", tab.closest(".photo"))) {
      const same = all("button", list).find((other) => keyOf(other) === keyOf(tab));
      if (same && same !== tab && tab.parentElement.classList.contains("methods")) choose(same);
    }
  }

  for (const list of all(".tabs")) {
    const tabs = all("button", list);
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", list.dataset.label);
    for (const tab of tabs) {
      const panel = panelOf(tab);
      tab.id = tab.dataset.panel + "-tab";
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.addEventListener("click", () => chooseEverywhere(tab));
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const here = tabs.indexOf(document.activeElement);
      const next =
        event.key === "Home" ? 0 : event.key === "End" ? tabs.length - 1 : step ? here + step : undefined;
      if (next === undefined || here < 0) return;
      event.preventDefault();
      const tab = tabs[(next + tabs.length) % tabs.length];
      chooseEverywhere(tab);
      tab.focus();
    });
    choose(tabs[0]);
  }

  // An address that names a map, or something inside a panel, brings it to the front.
  function follow() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (const tab of all(".tabs button")) if (panelOf(tab).contains(target)) chooseEverywhere(tab);
    target.scrollIntoView();
  }
  addEventListener("hashchange", follow);
  if (location.hash) follow();

  // Opacity is one number per photo; the layers do the rest.
  for (const slider of all(".slider input")) {
    const show = () => {
      slider.closest(".photo").style.setProperty("--opacity", String(slider.value / 100));
      slider.nextElementSibling.textContent = slider.value + " %";
      slider.setAttribute("aria-valuetext", slider.value + " per cent");
    };
    slider.addEventListener("input", show);
    show();
  }

  // The number under the pointer: a pixel's colour is found again on its palette.
  const data = JSON.parse(document.getElementById("pellucid-data").textContent);
  const pixels = new WeakMap();
  function pixelsOf(image) {
    if (!pixels.has(image)) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      pixels.set(image, context.getImageData(0, 0, canvas.width, canvas.height));
    }
    return pixels.get(image);
  }
  const covered = ([r, g, b, a]) => [(r * a) / 255, (g * a) / 255, (b * a) / 255, a];
  function placeOf(colour, table) {
    const wanted = covered(colour);
    let best = 0;
    let least = Infinity;
    table.forEach((entry, place) => {
      const far = covered(entry).reduce((sum, v, k) => sum + (v - wanted[k]) ** 2, 0);
      if (far < least) [best, least] = [place, far];
    });
    return best / 255;
  }
  for (const map of all(".map")) {
    const image = map.querySelector(".layer");
    const about = data.maps[map.id];
    if (!image || !about.scale.every(Number.isFinite) || about.scale[0] === about.scale[1]) continue;
    const reading = map.querySelector(".reading");
    const strip = map.querySelector(".strip");
    image.addEventListener("pointermove", (event) => {
      const { data: bytes, width, height } = pixelsOf(image);
      const box = image.getBoundingClientRect();
      const x = Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * width)));
      const y = Math.min(height - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * height)));
      const at = 4 * (y * width + x);
      const place = placeOf([...bytes.slice(at, at + 4)], data.palettes[about.palette]);
      const value = about.scale[0] + place * (about.scale[1] - about.scale[0]);
      reading.textContent = "≈ " + value.toPrecision(2).replace("-", "−");
      strip.style.setProperty("--at", 100 * place + "%");
      map.classList.add("reads");
    });
    image.addEventListener("pointerleave", () => map.classList.remove("reads"));
  }

  for (const button of all(".copy")) {
    const text = button.nextElementSibling;
    button.addEventListener("click", () => {
      const said = (words) => {
        button.textContent = words;
        setTimeout(() => (button.textContent = "Copy"), 1600);
      };
      const selected = () => {
        getSelection().selectAllChildren(text);
        said("Selected");
      };
      if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).then(() => said("Copied"), selected);
      else selected();
    });
  }
})();
