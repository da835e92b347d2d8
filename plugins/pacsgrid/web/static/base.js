// What every view shares: elements without JSX, the API, and how times and sizes are written.
const React = globalThis.React;

export const { useEffect, useState } = React;
export const h = React.createElement;

// This module is below .../pacsgrid/static/, the API beside it.
const ROOT = new URL("../", import.meta.url);

export function address(path) {
  return new URL(path, ROOT).href;
}

const STATUS = {
  401: "You are no longer logged in; load the page again.",
  403: "You may not see this; ask an administrator for the right.",
  404: "There is no such thing here, or you may not see it.",
  502: "The server is starting, or away; the page tries again.",
  504: "The server took too long to answer; the page tries again.",
};

// What is wrong, in words: ours are sentences, those of a check name the field.
function inWords(status, detail) {
  if (typeof detail === "string" && detail) return detail;
  if (Array.isArray(detail)) return detail.map((one) => `${one.loc?.at(-1) ?? "request"}: ${one.msg}`).join("; ");
  return STATUS[status] ?? `The server could not answer (status ${status}); its log says why.`;
}

async function reach(url, options) {
  const answer = await fetch(url, { credentials: "same-origin", ...options }).catch(() => {
    throw new Error("The server does not answer; check the network. The page tries again.");
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(inWords(answer.status, body?.detail));
  return body;
}

export async function ask(path) {
  return reach(address(`api/${path}`));
}

export async function send(url, body) {
  const headers = { "Content-Type": "application/json" };
  return reach(url, { method: "POST", headers, body: JSON.stringify(body) });
}

// Ask now and then again every `seconds`; the newest answer stays while the next is on its way.
export function useAnswer(path, seconds = 15) {
  const [state, setState] = useState({ path: null, data: null, error: null });
  useEffect(() => {
    let left = false;
    const load = () =>
      ask(path).then(
        (data) => left || setState({ path, data, error: null }),
        (error) => left || setState((was) => ({ ...was, path, error: error.message })),
      );
    load();
    const timer = seconds ? setInterval(load, seconds * 1000) : null;
    return () => {
      left = true;
      if (timer) clearInterval(timer);
    };
  }, [path, seconds]);
  return state.path === path ? state : { data: null, error: null };
}

export function Loaded({ answer, children }) {
  return [
    answer.error && h("p", { key: "error", className: "pg-error", role: "alert" }, answer.error),
    answer.data
      ? h("div", { key: "data" }, children(answer.data))
      : !answer.error && h("p", { key: "wait", className: "pg-quiet" }, "Loading…"),
  ];
}

export function age(at, now = new Date()) {
  const seconds = Math.max(0, (new Date(now) - new Date(at)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// Times are written in the site's time zone, wherever the reader is.
let zone;

export function setZone(name) {
  zone = name;
}

export function clock(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium", timeZone: zone });
}

export function dayOf(at) {
  return new Date(at).toLocaleDateString("sv-SE", { timeZone: zone });  // the Swedish way is ISO 8601
}

// The last second of a day in the site's time zone.
export function endOf(day) {
  const wanted = Date.parse(`${day}T23:59:59Z`);
  let at = wanted;
  for (let n = 0; n < 2; n += 1) {  // twice, since the first guess may lie beyond a clock change
    const shown = new Date(at).toLocaleString("sv-SE", { timeZone: zone });
    at += wanted - Date.parse(`${shown.replace(" ", "T")}Z`);
  }
  return new Date(at).toISOString();
}

export function When({ at, now, ago = true }) {
  return h("time", { dateTime: at, title: clock(at) }, `${age(at, now)}${ago ? " ago" : ""}`);
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

export function inProject(path, project) {
  const joint = path.includes("?") ? "&" : "?";
  return project ? `${path}${joint}project=${encodeURIComponent(project)}` : path;
}

// Airflow's document has a base address, so a bare "#..." would leave the page.
export function here(hash) {
  return `${location.pathname}${location.search}#${hash}`;
}

export function StudyLink({ study }) {
  return h("a", { href: here(`study/${study}`), className: "pg-ref", title: study }, study.slice(0, 14));
}

// The address of a view: its name, then its filters; those at the end that are empty are left out.
export function view(...parts) {
  while (parts.length && !parts.at(-1)) parts.pop();
  return here(parts.map((part) => encodeURIComponent(part ?? "")).join("/"));
}

const KINDS = { verified: "good", held: "held", withdrawn: "quiet", superseded: "quiet", "not-wanted": "quiet" };

export function State({ state }) {
  return h("span", { className: `pg-badge pg-badge-${KINDS[state] ?? "way"}` }, state);
}

export function Empty({ children }) {
  return h("p", { className: "pg-nothing" }, children);
}

// A column that the server can sort by: `falling` and `rising` name the two orders.
export function sortable(title, { falling, rising, order, sort }) {
  const way = { [falling]: "descending", [rising]: "ascending" }[order] ?? "none";
  const arrow = { descending: "↓", ascending: "↑", none: "↕" }[way];
  return {
    key: title,
    sort: way,
    label: h("button", { type: "button", className: "pg-sort", onClick: () => sort(order === falling ? rising : falling) },
      title, h("span", { "aria-hidden": true }, ` ${arrow}`)),
  };
}

export function Table({ head, rows, empty, caption }) {
  if (!rows.length) return h(Empty, null, empty);
  return h("div", { className: "pg-rows" }, h(
    "table",
    null,
    caption && h("caption", null, caption),
    h("thead", null, h("tr", null, head.map((name, n) =>
      name.label
        ? h("th", { key: name.key, scope: "col", "aria-sort": name.sort }, name.label)
        : h("th", { key: n, scope: "col" }, name || h("span", { className: "pg-unseen" }, "Actions"))))),
    h("tbody", null, rows),
  ));
}

// A list that the server pages: `next` makes the query of the page after from what is shown.
// Give it a key that changes with the path, so that another list begins at its first page.
export function Paged({ path, next, seconds, children }) {
  const [places, go] = useState([]);
  const place = places.at(-1);
  const answer = useAnswer(place ? `${path}${path.includes("?") ? "&" : "?"}${place}` : path, seconds);
  return h(Loaded, { answer }, (data) => [
    h("div", { key: "rows" }, children(data)),
    (places.length > 0 || data.more) && h("div", { key: "pages", className: "pg-pages", role: "group", "aria-label": "Pages" },
      h("button", { type: "button", disabled: !places.length, onClick: () => go(places.slice(0, -1)) }, "Previous"),
      h("span", null, `Page ${places.length + 1}`),
      h("button", { type: "button", disabled: !data.more, onClick: () => go([...places, String(new URLSearchParams(next(data)))]) }, "Next")),
  ]);
}

export function query(path, values) {
  const kept = Object.entries(values).filter(([, value]) => value);
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}
