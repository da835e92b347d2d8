// What every view shares: elements without JSX, the API, and how times and sizes are written.
const React = globalThis.React;

export const { useEffect, useState } = React;
export const h = React.createElement;

// This module is below .../pacsgrid/static/, the API beside it.
const ROOT = new URL("../", import.meta.url);

export function address(path) {
  return new URL(path, ROOT).href;
}

async function read(answer) {
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const why = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail);
    throw new Error(why || `the server answered ${answer.status}`);
  }
  return body;
}

export async function ask(path) {
  return read(await fetch(address(`api/${path}`), { credentials: "same-origin" }));
}

export async function send(url, body) {
  const headers = { "Content-Type": "application/json" };
  return read(await fetch(url, { method: "POST", credentials: "same-origin", headers, body: JSON.stringify(body) }));
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

export function clock(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
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

export function Table({ head, rows, empty, caption }) {
  if (!rows.length) return h("p", { className: "pg-quiet" }, empty);
  return h(
    "table",
    null,
    caption && h("caption", null, caption),
    h("thead", null, h("tr", null, head.map((name) => h("th", { key: name, scope: "col" }, name)))),
    h("tbody", null, rows),
  );
}
