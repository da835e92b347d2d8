// The researcher's page: what may be read, what may be asked for, what was asked for.

const ROOT = new URL("../", import.meta.url);
const VIEWER = new URL("../viewer/", ROOT);

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

async function ask(path, body) {
  const options = { credentials: "same-origin" };
  if (body) Object.assign(options, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await fetch(new URL(`api/${path}`, ROOT), options).catch(() => {
    throw new Error("The server does not answer; check the network and try again.");
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(found.detail || `the server answered ${answer.status}`), { status: answer.status });
  return found;
}

// Times are those of the site, wherever the researcher is.
let zone;
const day = (at) => new Date(at).toLocaleDateString(undefined, { dateStyle: "medium", timeZone: zone });
const time = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short", timeZone: zone });
const key = (one) => `${one.project}/${one.name ?? one.release}/v${one.version}`;

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; count >= 1024 && unit < units.length - 1; unit += 1) count /= 1024;
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

const main = document.getElementById("main");
const who = document.getElementById("who");

function show(...children) {
  main.replaceChildren(...children.flat().filter(Boolean));
}

// A form that says what went wrong where it was sent.
function form(attributes, fields, button, send) {
  const told = el("p", { class: "error", role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    const sent = event.target;
    sent.querySelector("button").disabled = true;
    told.hidden = true;
    try {
      await send(Object.fromEntries(new FormData(sent)));
    } catch (error) {
      told.textContent = error.message;
      told.hidden = false;
    }
    sent.querySelector("button").disabled = false;
  };
  return el("form", { ...attributes, onsubmit: submit }, fields, el("button", { type: "submit" }, button), told);
}

const field = (title, input) => el("label", {}, el("span", {}, title), input);

// Where to go after signing in: the viewer beside this page, and nowhere else.
function wanted() {
  const given = new URLSearchParams(location.search).get("next");
  if (!given) return null;
  const target = new URL(given, location.href);
  return target.origin === location.origin && target.pathname.startsWith(VIEWER.pathname) ? target : null;
}

async function signIn(note) {
  who.replaceChildren();
  const ways = await ask("ways").catch(() => ({ provider: false, token: true }));
  const login = new URL("login", ROOT);
  const next = new URLSearchParams(location.search).get("next");
  if (next) login.searchParams.set("next", next);
  show(
    note && el("p", { class: "error", role: "alert" }, note),
    ways.provider && el("p", {}, el("a", { id: "login", class: "button", href: login }, "Log in")),
    ways.token && form({ id: "sign-in" },
      [el("h2", {}, "Sign in"),
        field("Token, as your data steward gave it to you",
          el("input", { name: "token", type: "password", required: true, autocomplete: "current-password", size: 44 }))],
      "Sign in",
      async ({ token }) => {
        await ask("session", { token });
        const target = wanted();
        if (target) location.replace(target);
        else await load();
      }));
}

async function signOut() {
  await ask("session/end", {});
  signIn();
}

function table(head, rows, empty) {
  if (!rows.length) return el("p", { class: "quiet" }, empty);
  return el("table", {},
    el("thead", {}, el("tr", {}, head.map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, rows));
}

const count = (number, smallest) => (number === null ? `fewer than ${smallest}` : number.toLocaleString());
const numbers = (...texts) => texts.map((text) => el("td", { class: "number" }, text));

function studies(one) {
  const list = el("ul", { class: "studies" });
  const open = async (event) => {
    if (!event.target.open || list.childElementCount) return;
    try {
      const found = await ask(`releases/${encodeURIComponent(one.project)}/${encodeURIComponent(one.name)}/${one.version}/studies`);
      list.replaceChildren(...found.map((uid) =>
        el("li", {}, el("a", { href: new URL(`viewer?StudyInstanceUIDs=${uid}`, VIEWER), target: "_blank" }, uid))));
    } catch (error) {
      list.replaceChildren(el("li", { class: "error" }, error.message));
    }
  };
  return el("details", { ontoggle: open }, el("summary", {}, "Open in the viewer"), list);
}

function lines(one) {
  return el("details", {}, el("summary", {}, "Fetch it"),
    Object.entries(one.lines).map(([tool, text]) => {
      const copy = el("button", { type: "button", onclick: () => navigator.clipboard.writeText(text) }, "Copy");
      return el("div", {}, el("p", {}, `With ${tool} `, copy), el("pre", {}, text));
    }));
}

function readable(me, rows) {
  return el("section", { id: "readable" }, el("h2", {}, "Releases that you may read"),
    table(["Release", "Subjects", "Studies", "Instances", "Size", "Until", ""],
      rows.map((one) => el("tr", { "data-release": key(one) },
        el("td", {}, key(one)),
        numbers(one.subjects.toLocaleString(), one.studies.toLocaleString(), one.instances.toLocaleString(), bytes(one.size)),
        el("td", {}, one.until ? time(one.until) : "no end"),
        el("td", {}, lines(one), me.viewer && studies(one)))),
      "None yet. Ask for a release below, or ask the project's data steward."));
}

function request(one) {
  const later = new Date(Date.now() + 30 * 86400e3).toISOString().slice(0, 10);
  return el("details", {}, el("summary", {}, "Ask for it"),
    form({},
      [field("What you need it for: the study, the vote of the ethics committee",
        el("textarea", { name: "purpose", rows: 3, required: true, minlength: 10, maxlength: 2000 })),
      field("Until when", el("input", { name: "until", type: "date", required: true, value: later }))],
      "Ask",
      async ({ purpose, until }) => {
        const end = new Date(`${until}T23:59:59`).toISOString();
        await ask("grants", { project: one.project, release: one.name, version: one.version, purpose, until: end });
        await load();
      }));
}

function offered(rows, waiting) {
  return el("section", { id: "offered" }, el("h2", {}, "Releases that you may ask for"),
    el("p", { class: "quiet" }, "A data steward answers. Small counts are not shown."),
    table(["Release", "Subjects", "Studies", "Instances", "Size", "Released", ""],
      rows.map((one) => el("tr", { "data-release": key(one) },
        el("td", {}, key(one)),
        numbers(count(one.subjects, one.smallest), count(one.studies, one.smallest),
          one.instances === null ? "not shown" : one.instances.toLocaleString(), one.size === null ? "not shown" : bytes(one.size)),
        el("td", {}, day(one.made_at)),
        el("td", {}, waiting.has(key(one)) ? "asked for" : request(one)))),
      "There is no other release."));
}

function grants(rows) {
  const end = (one) => async () => {
    await ask(`grants/${one.id}/end`, {});
    await load();
  };
  return el("section", { id: "grants" }, el("h2", {}, "What you asked for"),
    table(["Release", "Asked", "State", "Until", "Answer", ""],
      rows.map((one) => el("tr", { "data-grant": one.id },
        el("td", {}, key(one)),
        el("td", {}, day(one.made_at)),
        el("td", {}, el("span", { class: `state state-${one.state}` }, one.state)),
        el("td", {}, time(one.until ?? one.wanted_until)),
        el("td", {}, one.events.filter((event) => event.what !== "requested").map((event) => event.reason).filter(Boolean).join("; ")),
        el("td", {}, ["requested", "granted"].includes(one.state) &&
          el("button", { type: "button", onclick: end(one) }, one.state === "requested" ? "Take back" : "Give back")))),
      "Nothing yet."));
}

async function load() {
  let me;
  try {
    me = await ask("me");
  } catch (error) {
    signIn(error.status === 401 ? null : error.message);
    return;
  }
  zone = me.time_zone;
  who.replaceChildren(`Signed in as ${me.user}; times are those of ${zone} `, el("button", { type: "button", onclick: signOut }, "Sign out"));
  try {
    const [releases, asked] = await Promise.all([ask("releases"), ask("grants")]);
    const waiting = new Set(asked.filter((one) => one.state === "requested").map(key));
    show(readable(me, releases.readable), offered(releases.offered, waiting), grants(asked));
  } catch (error) {
    show(el("p", { class: "error", role: "alert" }, error.message));
  }
}

// A link may bring the token behind "#", which no server and no log gets to see.
async function start() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      await ask("session", { token: given.get("token") });
    } catch (error) {
      signIn(error.message);
      return;
    }
    const target = wanted();
    if (target) {
      location.replace(target);
      return;
    }
  }
  await load();
}

start();
