// In development: reloads an outdated page, which stays as it was left, and shows why newer code is not live.
const me = new URL(import.meta.url), kept = history.state?.follow;
const kinds = { OPTION: "Selected", DETAILS: "Open", checkbox: "Checked", radio: "Checked", file: "Files" };
const overlay = Object.assign(document.createElement("pre"), { role: "alert", style: `all: initial;
  position: fixed; inset: auto 0 0; z-index: 2147483647; max-height: 50vh; overflow: auto; padding: 16px 20px;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.6 monospace; color-scheme: light dark;
  color: light-dark(#7a1a12, #ffb4ab); background: light-dark(#ffe9e7, #3a1512)` });
// During a hand-over the old server may answer once more: then it is tried again, a few times.
let stream, pause = 1000, handled = kept?.tries > 2 ? kept.live : "";

// What people fill in and open, each with a name that it has again after a reload.
const fields = (seen = {}) => [...document.querySelectorAll("input, textarea, option, details")].map((it) => {
  const kind = kinds[it.tagName] ?? kinds[it.type] ?? "Value", key = kind.toLowerCase();
  const name = [it.closest("[id]")?.id, it.tagName, it.name, key.endsWith("ed") && it.value].join();
  return { it, key, name: name + (seen[name] = (seen[name] ?? 0) + 1), isChanged: it[key] !== it[`default${kind}`] };
});
const show = (why) => { overlay.textContent = why; why ? document.body.append(overlay) : overlay.remove(); };
async function reload(live) {
  const page = await fetch(location.origin + location.pathname + location.search).catch(() => ({ status: 503 }));
  if (page.status === 503) return setTimeout(reload, 500, live);  // not ready yet
  const { detail } = page.status < 500 ? {} : await page.json().catch(() => ({ detail: page.status }));
  if (detail) return show(`This page is an old one, because the new code fails to answer.\n\n${detail}`);
  const values = new Map(fields().filter((one) => one.isChanged).map((one) => [one.name, one.it[one.key]]));
  const { id, name } = document.activeElement, scroll = { left: scrollX, top: scrollY, behavior: "instant" };
  const tries = live === kept?.live ? kept.tries + 1 : 0, state = history.state;
  history.replaceState({ follow: { live, tries, values, focus: id || name, scroll, state } }, "");
  location.reload();
}
function follow() {
  stream?.close();
  if (document.hidden) return;
  stream = new EventSource(location.origin + me.pathname.replace(".js", ""));
  stream.onmessage = ({ data }) => {
    const [live, problem] = JSON.parse(data);
    pause = 0;  // at a hand-over, the next server answers already
    show(problem && `This page runs the last good code, because the new code can't be loaded.\n\n${problem}`);
    if (![me.search.slice(1), handled].includes(live)) reload(handled = live);
  };
  stream.onerror = () => { stream.close(); setTimeout(follow, pause); pause = 1000; };
}
if (kept) {
  history.replaceState(kept.state, "");
  for (const { it, key, name } of fields()) if (kept.values.has(name)) it[key] = kept.values.get(name);
  (document.getElementById(kept.focus) ?? document.getElementsByName(kept.focus)[0])?.focus();
  const growth = new ResizeObserver(() => scrollTo(kept.scroll));  // while a script still fills the page
  growth.observe(document.documentElement); setTimeout(() => growth.disconnect(), 1000);
}
document.addEventListener("visibilitychange", follow);
follow();
