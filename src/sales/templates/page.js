
  "use strict";
  const find = (id) => document.getElementById(id);
  // With its origin: if the page's address holds a password, the browser refuses requests relative to it.
  const imports = location.origin + find("upload").getAttribute("action");
  const unreachable = "The server can't be reached. Try again.";

  function say(text, kind = "") {
    find("message").textContent = text;
    find("message").className = kind;
  }

  /** Replace figures and imports by what the server shows now; what was open stays open. */
  async function refresh() {
    const response = await fetch(location.origin + "/");
    if (!response.ok) return;
    const page = document.createElement("template");
    page.innerHTML = await response.text();
    const open = [...document.querySelectorAll("details[open]")].map((details) => details.id);
    const focused = document.activeElement.id;
    for (const id of ["figures", "imports"]) find(id).replaceWith(page.content.getElementById(id));
    for (const id of open) find(id)?.setAttribute("open", "");
    if (focused && document.activeElement === document.body) find(focused)?.focus();
    followImports();
  }

  // Progress: a stream of events for each import that has not ended, three at a time.
  const followed = new Map();

  function followImports() {
    for (const { dataset: { import: id, status } } of document.querySelectorAll("[data-import]")) {
      if (followed.size < 3 && !["finished", "failed"].includes(status)) follow(id);
    }
  }

  function follow(id) {
    if (followed.has(id)) return;
    const stream = new EventSource(`${imports}/${id}/events`);
    followed.set(id, stream);
    stream.addEventListener("progress", ({ data }) => showProgress(JSON.parse(data)));
    stream.addEventListener("error", () => {
      if (stream.readyState !== EventSource.CLOSED) return;  // refused, or deleted
      followed.delete(id);
      setTimeout(followImports, 5000);
    });
  }

  function showProgress(now) {
    const body = document.querySelector(`[data-import="${now.id}"]`), bar = body?.querySelector("progress");
    if (bar) {
      const status = body.querySelector(".status");
      status.textContent = now.status;
      status.className = `status ${now.status}`;
      body.querySelector("[data-rows]").textContent = now.rows_done.toLocaleString("en");
      body.querySelector("[data-rejected]").textContent = now.rows_rejected.toLocaleString("en");
      bar.max = now.rows_total || 1;
      bar.value = now.rows_done + now.rows_rejected;
    }
    if (!["finished", "failed"].includes(now.status)) return;
    followed.get(now.id)?.close();
    followed.delete(now.id);
    const rows = now.rows_done.toLocaleString("en"), rejected = now.rows_rejected.toLocaleString("en");
    say(now.status === "failed" ? `${now.filename}: failed.` : `${now.filename}: ${rows} rows imported, ${rejected} rejected.`, now.status);
    refresh().catch(() => {});
  }

  // What else changes: one stream while the page is visible. It starts with what is true now.
  let changes;

  function followChanges() {
    if (document.hidden) {
      changes?.close();
      changes = undefined;
    }
    if (document.hidden || (changes && changes.readyState !== EventSource.CLOSED)) return;
    changes = new EventSource(location.origin + find("running").dataset.events);
    changes.addEventListener("running", ({ data }) => {
      const codes = () => [...document.querySelectorAll("#running code")], before = codes().map((code) => code.textContent);
      find("running").innerHTML = data;
      for (const code of codes()) code.classList.toggle("fresh", !before.includes(code.textContent));
    });
    changes.addEventListener("version", ({ data }) => data === find("figures").dataset.version || refresh().catch(() => {}));
    changes.addEventListener("open", () => showLive("live", true));
    changes.addEventListener("error", ({ target }) => {
      showLive("reconnecting", false);
      if (target.readyState === EventSource.CLOSED) setTimeout(followChanges, 5000);
    });
  }

  function showLive(text, isOn) {
    find("live").textContent = text;
    find("live").classList.toggle("on", isOn);
  }

  function upload(form) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();  // fetch does not tell how much it has sent
      request.open("POST", imports);
      request.responseType = "json";
      request.upload.addEventListener("progress", ({ loaded, total }) => { find("sending").value = loaded / total; });
      request.addEventListener("load", () => resolve(request));
      request.addEventListener("error", reject);
      request.send(new FormData(form));
    });
  }

  find("upload").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target, button = form.querySelector("button"), [file] = find("file").files;
    if (file.size > form.dataset.maxBytes) {
      say(`${file.name} is too large. See the limit above.`, "failed");
      return;
    }
    button.disabled = true;
    find("sending").value = 0;
    find("sending").hidden = false;
    say("Uploading…");
    try {
      const { status, response } = await upload(form);
      if (status === 200) say(`${file.name} was imported before: nothing to do.`, "finished");
      else if (status === 202) say(`${file.name} accepted.`, "finished");
      else say(response?.detail ?? `The server answered ${status}.`, "failed");
      if (status < 300) {
        form.reset();
        if (status === 202) follow(response.id);  // it may have ended before the page shows it
        await refresh();
      }
    } catch {
      say(unreachable, "failed");
    }
    find("sending").hidden = true;
    button.disabled = false;
  });

  document.addEventListener("click", async ({ target }) => {
    if (!target.dataset.retry) return;
    target.disabled = true;
    try {
      const response = await fetch(`${imports}/${target.dataset.retry}/retry`, { method: "POST" });
      const body = await response.json();
      if (response.ok) {
        say(`Retrying ${body.filename}.`);
        follow(body.id);
      } else say(body.detail, "failed");
      await refresh();
    } catch {
      say(unreachable, "failed");
      target.disabled = false;
    }
  });

  document.addEventListener("click", async ({ target }) => {
    const { delete: id, name } = target.dataset;
    if (!id || !confirm(`Delete ${name} and its rows? This can't be undone.`)) return;
    target.disabled = true;
    try {
      const response = await fetch(`${imports}/${id}`, { method: "DELETE" });
      if (response.ok) {
        followed.get(id)?.close();
        followed.delete(id);
        say(`${name} deleted.`);
      } else say((await response.json()).detail, "failed");
      await refresh();
      if (document.activeElement === document.body) (document.querySelector("[data-delete]") ?? find("file")).focus();
    } catch {
      say(unreachable, "failed");
      target.disabled = false;
    }
  });

  document.addEventListener("visibilitychange", followChanges);
  followImports();
  followChanges();
