// How far the ingests are that take more than one wave, and the buttons that pause them.
import { address, h, inProject, Loaded, plural, send, Table, useAnswer, useState } from "./base.js";

function left(hours) {
  if (hours === null) return "unknown";
  if (hours < 1) return `${Math.max(1, Math.round(hours * 60))} min`;
  return hours < 48 ? `${hours.toFixed(1)} h` : `${(hours / 24).toFixed(1)} days`;
}

function Row({ progress, me, tell }) {
  const { ingest, pending } = progress;
  const done = ingest.found - pending;
  const action = ingest.state === "running" ? "pause" : "resume";
  const change = () =>
    send(address(`api/ingests/${ingest.id}/${action}`), {}).then(
      () => tell(""),
      (error) => tell(error.message),
    );
  return h("tr", { "data-ingest": ingest.id },
    h("td", null, ingest.kind),
    h("td", null, `${ingest.source} → ${ingest.project}`),
    h("td", null, ingest.state, ingest.note && h("div", { className: "pg-quiet" }, ingest.note)),
    h("td", null,
      h("progress", { max: Math.max(1, ingest.found), value: done, "aria-label": "Studies finished" }),
      h("div", { className: "pg-quiet" }, `${done.toLocaleString()} of ${plural(ingest.found, "study", "studies")}`)),
    h("td", null, ingest.rate ? `${Math.round(ingest.rate).toLocaleString()} an hour` : ""),
    h("td", null, pending ? left(progress.hours_left) : ""),
    h("td", null, me.ingests && ingest.state !== "ended" &&
      h("button", { type: "button", onClick: change }, action === "pause" ? "Pause" : "Resume")));
}

export function Ingests({ project, me }) {
  const [error, tell] = useState("");
  const answer = useAnswer(inProject("ingests", project), 5);
  return h(Loaded, { answer }, (found) => {
    const shown = found.filter(({ ingest }) => ingest.waves > 1 || (ingest.state !== "ended" && ingest.found));
    return h("section", null,
      h("h2", null, "Ingests in waves"),
      error && h("p", { className: "pg-error", role: "alert" }, error),
      h(Table, {
        head: ["Kind", "Source and project", "State", "Progress", "Rate", "Work left", ""],
        empty: "No ingest takes more than one wave now. To start one, open Ingest and leave the dates wide.",
        rows: shown.map((progress) => h(Row, { key: progress.ingest.id, progress, me, tell })),
      }));
  });
}
