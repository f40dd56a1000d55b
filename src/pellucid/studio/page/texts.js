"use strict";
(() => {
  const form = document.querySelector("form");
  const result = document.getElementById("result");
  let timer = 0;
  let asking = false;
  let again = false;

  const written = (kind, text) => {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    result.replaceChildren(line);
  };

  const ask = async () => {
    if (asking) { again = true; return; }
    asking = true;
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch("explain", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(Object.fromEntries(new FormData(form))),
      });
      const told = await answer.json();
      if (told.error) written("error", told.error);
      else result.innerHTML = told.html; // made by the page's own program, which escapes every text
    } catch {
      written("error", "The page's program does not answer; it may have been closed.");
    }
    asking = false;
    result.removeAttribute("aria-busy");
    if (again) { again = false; ask(); }
  };

  const soon = () => { clearTimeout(timer); timer = setTimeout(ask, 500); };
  form.addEventListener("input", (event) => {
    if (event.target.name === "n_features") form.querySelector("output").value = event.target.value;
    soon();
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); ask(); });
})();
