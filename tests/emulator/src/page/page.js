// The page of iclock-emulator: asks for the view, shows what changed, and sends what is clicked.
// What a terminal sent is only ever put in as text (textContent), or as a picture that the server has checked.
"use strict";

const PAUSE_MS = 250; // between two views, so that a busy server is not asked for each punch
const RETRY_MS = 1000;
const SILENT_MS = 30_000; // a view comes after 20 s at the latest
const STATUS = ["in", "out", "break out", "break in", "overtime in", "overtime out"];
const VERIFIED_BY = { 0: "any", 1: "fingerprint", 2: "PIN", 3: "password", 4: "card", 15: "face", 21: "finger vein", 25: "palm" };
const PRIVILEGE = { 0: "user", 2: "enroller", 6: "administrator", 10: "own rights", 14: "super administrator" };
const ENCODING = { Utf8: "UTF-8", Gbk: "GBK" };
const FIELDS = {
  stall: ["ms"], answer: ["status", "body"], garbage: ["garbage"], "long-line": ["bytes"],
  delay: ["ms"], drip: ["ms"], "lose-ack": ["reset"], "count-off": ["by"],
  seal: ["how"],
};
const FIGURES = {
  punches: "punches", duplicates: "duplicates", users: "people", photos: "photos", templates: "templates",
  requests: "requests", commands_queued: "commands", commands_answered: "answered", deviations: "deviations",
};

const id = (name) => document.getElementById(name);
const named = (table, number) => (table[number] === undefined ? String(number) : `${number} ${table[number]}`);
const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function button(text, label, clicked) {
  const made = element("button", text, { type: "button", "aria-label": label });
  made.addEventListener("click", clicked);
  return made;
}

/* What each list shows of a row. Lists are shown with the newest first, but for those with `ascending`. */

const LISTS = {
  terminals: {
    ascending: true,
    empty: "No terminal has connected yet.",
    cells: (row) => [
      row.sn,
      row.established ? "handshake done" : "no handshake yet",
      age(row),
      String(row.requests),
      row.established ? row.version : "",
      row.established ? ENCODING[row.encoding] : "",
      info(row.info),
    ],
  },
  punches: {
    empty: "No punch has arrived yet.",
    cells: (row) => [
      row.pin, row.time, named(STATUS, row.status), named(VERIFIED_BY, row.verify), row.workcode, row.sn,
      row.times === 1 ? "once" : `${row.times} times`,
    ],
  },
  people: {
    ascending: true,
    empty: "No person has been uploaded yet.",
    cells: (row) => [row.pin, row.name, named(PRIVILEGE, row.pri), row.card, row.grp, row.sn],
  },
  commands: {
    empty: "No command has been queued yet.",
    cells: (row) => [
      row.id,
      element("code", row.text.replaceAll("\t", "⇥")),
      row.handed_out === 0 ? "waits for a poll" : row.handed_out === 1 ? "once" : `${row.handed_out} times`,
      returned(row.reply),
      row.reply?.content ? content(row.reply.content) : "",
    ],
  },
  deviations: {
    empty: "None: the terminals do as the document says.",
    cells: deviation,
  },
  punch_photos: { empty: "None.", cells: (row, place) => photo("punches", row, place) },
  people_photos: { empty: "None.", cells: (row, place) => photo("people", row, place) },
};

function age(row) {
  return [element("span", "", { "data-at": row.at_ms }), element("small", row.exchange)];
}

function info(text) {
  if (text === null) return "";
  const [version, users, fingers, punches, address] = text.split(",");
  if (address === undefined) return text;
  return [version, element("small", `${users} users, ${fingers} fingerprints, ${punches} punches, ${address}`)];
}

function returned(reply) {
  if (reply === null) return "";
  return element("span", String(reply.ret), reply.ret < 0 ? { class: "bad" } : {});
}

function content(text) {
  const lines = text.trimEnd().split("\n");
  if (lines.length === 1 && text.length < 80) return element("code", text);
  const details = element("details");
  details.append(element("summary", plural(lines.length, "line")), element("pre", text));
  return details;
}

function deviation(row) {
  const rule = element("small");
  row.rule.split("`").forEach((part, n) => rule.append(n % 2 ? element("code", part) : part));
  const bytes = element("pre", "", { tabindex: "0", "aria-label": `Bytes of request ${row.request}` });
  bytes.hidden = true;
  const show = button("Bytes", `Bytes of request ${row.request}`, async () => {
    bytes.hidden = !bytes.hidden;
    show.setAttribute("aria-expanded", String(!bytes.hidden));
    if (bytes.hidden || bytes.textContent) return;
    await act("GET", `/requests/${row.request}`, undefined, (kept) => {
      bytes.textContent = visible(kept);
    });
  });
  show.setAttribute("aria-expanded", "false");
  show.disabled = !row.has_bytes;
  const permit = button("Permit", `Permit ${row.kind} from now on`, () =>
    act("POST", "/allow", row.kind, () => `${row.kind} is permitted from now on.`));
  const request = [String(row.request), element("small", row.of)];
  return [element("code", row.kind), [row.text, rule, bytes], request, [show, " ", permit]];
}

/* The bytes of a request as text; what is no text is written \r, \xff, and a backslash \\. */
function visible(kept) {
  const bytes = Uint8Array.from(atob(kept.bytes), (char) => char.charCodeAt(0));
  const escape = (char) => ({ "\t": "\\t", "\r": "\\r", "\n": "\\n\n", "\\": "\\\\" })[char] ?? hex(char);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes).replace(/[\0-\x1f\x7f\\]/g, escape);
  } catch {
    text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("").replace(/[^\x20-\x5b\x5d-\x7e]/g, escape);
  }
  return kept.length > bytes.length ? `${text}\n… ${kept.length} bytes in all` : text;
}

const hex = (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;

function photo(list, row, place) {
  const caption = element("small", `${row.pin}, ${row.of}`);
  if (row.picture === null) return [`not a picture: ${plural(row.bytes, "byte")}`, caption];
  // The rest of the address tells pictures apart that had the same place one after the other.
  const address = `/photos/${list}/${place}?${encodeURIComponent(`${row.pin} ${row.of} ${row.bytes}`)}`;
  return [element("img", undefined, { src: address, alt: `Photo of ${row.pin}, ${row.of}`, loading: "lazy" }), caption];
}

/* The view: asked for again as soon as something is new. */

let revision = null; // of the view that is shown
let starts = {}; // at which row a list begins, where it does not show the latest
let before = null; // the figures of the last view
let ahead = 0; // milliseconds that the server's clock is ahead of ours
let asking = null; // what ends the request that waits

async function watch() {
  for (;;) {
    let view;
    try {
      view = await latest();
    } catch (error) {
      if (error.name === "AbortError") continue;
      say("No connection to the emulator. Trying again.", "lost");
      revision = null;
      await pause(RETRY_MS);
      continue;
    }
    show(view);
    await pause(PAUSE_MS);
  }
}

async function latest() {
  const query = new URLSearchParams(starts);
  if (revision !== null) query.set("revision", revision);
  const controller = new AbortController();
  asking = controller;
  const silence = setTimeout(() => controller.abort(new Error("silence")), SILENT_MS);
  try {
    const answer = await fetch(`/view?${query}`, { signal: controller.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return await answer.json();
  } finally {
    clearTimeout(silence);
  }
}

/* How it is with the connection. */
function say(text, state) {
  id("link").textContent = text;
  id("link").className = state;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/* Asks at once, in place of waiting for news. */
function refresh() {
  revision = null;
  asking.abort();
}

function show(view) {
  revision = view.revision;
  ahead = view.now_ms - Date.now();
  say("Live", "");
  const figures = Object.entries(FIGURES).map(([key, text]) => {
    const figure = element("div");
    figure.append(element("dt", text), element("dd", String(view.figures[key])));
    return figure;
  });
  id("figures").replaceChildren(...figures);
  for (const name of Object.keys(LISTS)) showList(name, view[name]);
  id("persona-now").textContent = view.persona ?? "a mixture";
  showFaults(view.faults);
  announce(view);
  tick();
}

function showList(name, list) {
  const { ascending, empty, cells } = LISTS[name];
  const holder = document.querySelector(`[data-list=${name}]`);
  const body = holder.tBodies ? holder.tBodies[0] : holder;
  const items = list.rows.map((row, n) => [String(list.start + n), row]);
  if (!ascending) items.reverse();
  const kept = new Map([...body.children].map((shown) => [shown.dataset.place, shown]));
  const places = new Set(items.map(([place]) => place));
  for (const [place, shown] of kept) {
    if (places.has(place)) continue;
    if (shown.contains(document.activeElement)) holder.closest("section").querySelector("h2").focus();
    shown.remove();
  }
  let next = body.firstElementChild;
  for (const [place, row] of items) {
    const shown = kept.get(place) ?? element(holder.tBodies ? "tr" : "li", undefined, { "data-place": place });
    const content = JSON.stringify(row);
    if (shown.content !== content) {
      shown.content = content;
      const parts = cells(row, place);
      shown.replaceChildren(...(holder.tBodies ? parts.map(cell) : parts));
    }
    if (shown === next) next = next.nextElementSibling;
    else body.insertBefore(shown, next);
  }
  showPager(name, holder, list, empty);
}

function cell(parts) {
  const made = element("td");
  made.append(...(Array.isArray(parts) ? parts : [parts]));
  return made;
}

/* Which rows these are, and the buttons to others, if there are any. */
function showPager(name, holder, list, empty) {
  let pager = holder.nextElementSibling;
  if (!pager?.classList.contains("pager")) {
    pager = element("div", undefined, { class: "pager" });
    holder.after(pager);
  }
  const { total, start, rows } = list;
  const last = total - rows.length;
  const rising = LISTS[name].ascending;
  const [newest, from] = rising ? [0, start] : [last, last - start];
  const text = total === 0 ? empty : `${from + 1} to ${from + rows.length} of ${total}`;
  if (!pager.firstChild) pager.append(element("span"));
  pager.firstChild.textContent = text;
  const several = total > rows.length;
  if (several && pager.children.length === 1) {
    const to = (where) => () => {
      const target = where(pager.list);
      if (target === null) delete starts[name];
      else starts[name] = target;
      refresh();
    };
    const step = (list, sign) => Math.min(Math.max(list.start + sign * list.rows.length, 0), list.total - list.rows.length);
    const label = name.replace("_", " ");
    const texts = rising ? ["First", "Previous", "Next"] : ["Newest", "Newer", "Older"];
    pager.append(
      button(texts[0], `${texts[0]} ${label}`, to(() => null)),
      button(texts[1], `${texts[1]} ${label}`, to((list) => newestOr(name, list, step(list, rising ? -1 : 1)))),
      button(texts[2], `${texts[2]} ${label}`, to((list) => step(list, rising ? 1 : -1))),
    );
  } else if (!several && pager.children.length > 1) {
    pager.replaceChildren(pager.firstChild);
  }
  pager.list = list;
  if (!several) return;
  // Not `disabled`: that would take the focus away from the button just pressed.
  const ends = [start === newest, start === newest, rising ? start === last : start === 0];
  [...pager.children].slice(1).forEach((button, n) => button.setAttribute("aria-disabled", String(ends[n])));
}

/* The latest rows are shown live: no place is asked for. */
function newestOr(name, list, start) {
  const newest = LISTS[name].ascending ? 0 : list.total - list.rows.length;
  return start === newest ? null : start;
}

function showFaults(faults) {
  const parts = [];
  if (faults.total) parts.push(plural(faults.total, "fault"));
  if (faults.percent) parts.push(`random faults for ${faults.percent} % of all requests`);
  id("faults-now").textContent = parts.join(", ") || "none";
  const texts = faults.armed.map(({ on, act, times }) => `${act} on ${on}, ${times === null ? "until removed" : plural(times, "time")}`);
  id("faults").replaceChildren(...texts.map((text) => element("li", text)));
}

/* One sentence on what arrived, for those who look elsewhere or listen. */
function announce({ figures, punches, commands }) {
  const more = (key) => (before === null ? 0 : figures[key] - before[key]);
  const news = [];
  const latest = punches.rows.at(-1);
  if (more("punches") > 0) {
    const which = starts.punches === undefined ? `: ${latest.pin} at ${latest.time}` : "";
    news.push(`${plural(more("punches"), "punch").replace("punchs", "punches")} arrived${which}.`);
  }
  if (more("commands_answered") === 1) {
    const newest = commands.rows.findLast((row) => row.reply !== null);
    news.push(newest ? `Command ${newest.id} was answered with ${newest.reply.ret}.` : "A command was answered.");
  } else if (more("commands_answered") > 1) news.push(`${more("commands_answered")} commands were answered.`);
  if (more("deviations") > 0) news.push(`${plural(more("deviations"), "deviation")} from the document.`);
  before = figures;
  if (news.length) id("news").textContent = news.join(" ");
}

function tick() {
  for (const shown of document.querySelectorAll("[data-at]")) {
    const seconds = Math.max(0, Math.round((Date.now() + ahead - Number(shown.dataset.at)) / 1000));
    shown.textContent = seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
  }
}

/* What is clicked. */

/* Sends one request of the admin interface; `said` makes the message from its answer. */
async function act(method, path, body, said) {
  id("failure").textContent = "";
  try {
    const answer = await fetch(path, { method, body });
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    const message = said(value);
    if (message) id("news").textContent = message;
  } catch (error) {
    id("failure").textContent = `Not done: ${error.message}`;
  }
}

const queue = (text) =>
  act("POST", "/commands", text.replaceAll("⇥", "\t"), ({ ids }) => `Queued as ${ids.join(", ")}.`);

function fault() {
  const chosen = { on: id("on").value, act: id("act").value };
  chosen.times = id("always").checked ? 4294967295 : Number(id("times").value);
  if (id("containing").value) chosen.containing = id("containing").value;
  for (const name of FIELDS[chosen.act] ?? []) {
    const field = id(name);
    const value = field.type === "checkbox" ? field.checked : field.type === "number" ? Number(field.value) : field.value;
    chosen[name === "garbage" ? "text" : name] = value;
  }
  return act("POST", "/faults", JSON.stringify(chosen), () => `${chosen.act} is on for ${chosen.on}.`);
}

function showFields() {
  const wanted = FIELDS[id("act").value] ?? [];
  for (const field of document.querySelectorAll("[data-of]")) field.hidden = !wanted.includes(field.dataset.of);
}

function onSubmit(form, done) {
  id(form).addEventListener("submit", (event) => {
    event.preventDefault();
    done();
  });
}

async function choosePersonas() {
  await act("GET", "/personas", undefined, (personas) => {
    const about = () => {
      id("persona-about").textContent = personas.find(({ name }) => name === id("persona").value).about.replaceAll("`", "");
    };
    id("persona").replaceChildren(...personas.map(({ name }) => element("option", name)));
    id("persona").addEventListener("change", about);
    about();
  });
}

for (const shown of document.querySelectorAll("[data-queue]")) shown.addEventListener("click", () => queue(shown.dataset.queue));
for (const shown of document.querySelectorAll("[data-fill]")) {
  shown.addEventListener("click", () => {
    const day = new Date().toLocaleDateString("sv"); // 2026-03-02
    id("text").value = shown.dataset.fill.replaceAll("DAY", day);
    id("text").focus();
  });
}
id("tab").addEventListener("click", () => {
  id("text").setRangeText("⇥", id("text").selectionStart, id("text").selectionEnd, "end");
  id("text").focus();
});
onSubmit("queue", () => queue(id("text").value));
onSubmit("persona-form", () => act("POST", "/persona", id("persona").value, () => `The server now behaves like ${id("persona").value}.`));
onSubmit("fault-form", fault);
onSubmit("weather-form", () => {
  const weather = { percent: Number(id("percent").value), seed: Date.now() };
  return act("POST", "/faults", JSON.stringify(weather), () => `Random faults: ${weather.percent} %.`);
});
id("clear").addEventListener("click", () => act("DELETE", "/faults", undefined, () => "All faults are removed."));
id("release").addEventListener("click", () => act("POST", "/release", "", () => "Stalled requests have ended."));
id("reset-all").addEventListener("click", () => {
  if (confirm("Delete all punches, people, photos, commands and deviations that came in, and remove the faults?"))
    act("POST", "/reset", "", () => "All that came in is deleted.");
});
id("act").addEventListener("change", showFields);
showFields();
choosePersonas();
setInterval(tick, 1000);
watch().catch((error) => {
  say(`This page failed: ${error.message}. Please load it again.`, "lost");
  throw error;
});
