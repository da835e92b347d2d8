// Researchers: who asks for which release, who holds which grant, and what a steward answers.
import { address, age, clock, dayOf, endOf, h, inProject, Loaded, send, Table, useAnswer, useState } from "./base.js";

const BADGES = { requested: "pg-badge pg-badge-held", granted: "pg-badge", refused: "pg-badge pg-badge-bad", ended: "pg-badge pg-badge-quiet" };
const HAPPENED = { requested: "asked", granted: "granted", refused: "refused", ended: "ended", moved: "moved" };

function Answer({ entry, done }) {
  const { grant, state } = entry;
  const [told, tell] = useState({});
  const decide = (verdict) => async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target.form ?? event.target));
    const body = { reason: values.reason, until: verdict === "approve" ? endOf(values.until) : null };
    tell({ wait: true });
    try {
      const { settled } = await send(address(`api/grants/${grant.id}/${verdict}`), body);
      tell({ note: settled ? "" : "The home zone does not answer; housekeeping sets the rights." });
      done();
    } catch (error) {
      tell({ error: error.message });
    }
  };
  const asked = state === "requested";
  return h("form", { onSubmit: decide("approve"), className: "pg-answer" },
    h("label", null, "until ", h("input", { type: "date", name: "until", required: true, defaultValue: dayOf(grant.until ?? grant.wanted_until) })),
    h("label", null, asked ? "note, or why not " : "why ", h("input", { name: "reason", maxLength: 2000 })),
    h("button", { type: "submit", disabled: Boolean(told.wait) }, asked ? "Grant" : "Change the end"),
    h("button", { type: "button", disabled: Boolean(told.wait), onClick: decide(asked ? "refuse" : "end") }, asked ? "Refuse" : "End now"),
    told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
    told.note && h("p", { className: "pg-warning", role: "status" }, told.note));
}

function History({ events }) {
  return h("details", null, h("summary", null, "History"),
    h("ol", { className: "pg-story" }, events.map((event, n) =>
      h("li", { key: n },
        h("time", { dateTime: event.at }, clock(event.at)),
        h("strong", null, HAPPENED[event.what] ?? event.what),
        h("span", null, [event.until && `until ${clock(event.until)}`, event.what === "requested" ? "" : event.reason, `by ${event.who}`].filter(Boolean).join(", "))))));
}

function Row({ entry, now, answers, done }) {
  const { grant, state, events } = entry;
  const open = state === "requested" || state === "granted";
  return h("tr", { "data-grant": grant.id, "data-state": state },
    h("td", { className: "pg-ref" }, grant.researcher),
    h("td", null, `${grant.project}: ${grant.release}/v${grant.version}`),
    h("td", { className: "pg-wide" }, grant.purpose, h(History, { events })),
    h("td", { title: clock(grant.made_at) }, `${age(grant.made_at, now)} ago`),
    h("td", null, h("span", { className: BADGES[state] }, state),
      state === "granted" && grant.rights !== "set" && h("small", { className: "pg-quiet" }, " rights are being set"),
      state === "ended" && grant.rights !== "none" && h("small", { className: "pg-quiet" }, " rights are being removed")),
    h("td", { title: clock(grant.until ?? grant.wanted_until) }, dayOf(grant.until ?? grant.wanted_until)),
    h("td", null, open && answers && h(Answer, { entry, done })));
}

function Rows({ project, me, path, again }) {
  const answer = useAnswer(path);
  const [older, showOlder] = useState(false);
  return h(Loaded, { answer }, ({ now, grants, more }) => {
    const last = grants.at(-1)?.grant;
    return [
      h(Table, {
        key: "rows",
        head: ["Researcher", "Release", "Purpose", "Asked", "State", "Until", ""],
        empty: "No researcher has asked yet. A project whose site file has `requests` shows its releases to researchers.",
        rows: grants.map((entry) =>
          h(Row, { key: `${entry.grant.id}${entry.grant.changed_at}`, entry, now, answers: me.releases, done: again })),
      }),
      more && !older && h("button", { key: "more", type: "button", onClick: () => showOlder(true) }, "Show older ones"),
      more && older && h(Rows, {
        key: "older", project, me, again,
        path: inProject(`grants?before=${encodeURIComponent(last.made_at)}&id=${last.id}`, project),
      }),
    ];
  });
}

export function GrantsView({ project, me }) {
  const [turn, again] = useState(0);
  return h("section", null,
    h("h2", null, "Researchers' access to releases"),
    h("p", { className: "pg-quiet" }, "A grant sets read rights in the project's home zone, and ends by itself."),
    h(Rows, { key: `${turn}${project}`, project, me, path: inProject("grants", project), again: () => again((n) => n + 1) }));
}
