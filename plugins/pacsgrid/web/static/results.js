// Results that researchers sent back: who sent what, and what a steward decides about it.
import { address, clock, Empty, h, inProject, Paged, plural, query, send, State, StudyLink, Table, useState, view, When } from "./base.js";

const STANDINGS = [["", "all"], ["waiting", "waiting for a decision"], ["released", "released"], ["withheld", "withheld"]];
const BADGES = { waiting: "pg-badge pg-badge-held", released: "pg-badge", withheld: "pg-badge pg-badge-quiet" };
const runs = () => new URL("../api/v2/dags/return_results/dagRuns", address(""));
const runOf = (run) => new URL(`../dags/return_results/runs/${encodeURIComponent(run)}`, address("")).href;

function Decide({ result, done }) {
  const [told, tell] = useState({});
  const decide = (verdict) => async (event) => {
    event.preventDefault();
    const { reason } = Object.fromEntries(new FormData(event.target.form ?? event.target));
    tell({ wait: true });
    try {
      await send(address(`api/results/${result.ref}/${verdict}`), { reason });
      done();
    } catch (error) {
      tell({ error: error.message });
    }
  };
  const verdicts = [["release", "Release"], ["withhold", "Refuse"]]
    .filter(([name]) => name !== { released: "release", withheld: "withhold" }[result.standing]);
  return h("form", { className: "pg-answer", onSubmit: decide(verdicts[0][0]) },
    h("label", null, "Reason ", h("input", { name: "reason", required: true, maxLength: 2000 })),
    verdicts.map(([name, title], n) =>
      h("button", { key: name, type: n ? "button" : "submit", disabled: Boolean(told.wait), onClick: n ? decide(name) : undefined }, title)),
    told.error && h("p", { className: "pg-error", role: "alert" }, told.error));
}

function SendBack({ result, destinations }) {
  const [told, tell] = useState({});
  const start = async (event) => {
    event.preventDefault();
    const { destination } = Object.fromEntries(new FormData(event.target));
    tell({ wait: true });
    try {
      const conf = { project: result.project, result: result.ref, destination };
      tell({ run: (await send(runs(), { logical_date: null, conf })).dag_run_id });
    } catch (error) {
      tell({ error: error.message });
    }
  };
  return h("details", null, h("summary", null, "Send back to the hospital"),
    h("form", { className: "pg-answer", onSubmit: start },
      h("label", null, "Archive ", h("select", { name: "destination" }, destinations.map((name) => h("option", { key: name }, name)))),
      h("button", { type: "submit", disabled: Boolean(told.wait) }, "Ask for approval"),
      h("p", { className: "pg-quiet" }, "A steward approves it in Airflow. It goes back under the patient's own identifiers."),
      told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
      told.run && h("p", { className: "pg-done", role: "status" }, "Started: ", h("a", { href: runOf(told.run) }, told.run))));
}

function Checks({ result }) {
  const proven = result.bad
    ? `${plural(result.bad, "replica")} bad`
    : result.good ? `${plural(result.good, "replica")} proven` : "no replica proven yet";
  return [
    h("div", { key: "state" }, h(State, { state: result.state })),
    h("div", { key: "why", className: "pg-quiet" },
      result.held_code
        ? h("a", { href: view("study", result.ref) }, h("code", null, result.held_code))
        : "kind, references and identity checked when it came"),
    h("div", { key: "proofs", className: "pg-quiet" }, proven),
  ];
}

function Row({ one, data, me, done }) {
  const { result, kinds } = one;
  const shown = me.viewer && result.study_uid && result.state === "verified";
  return h("tr", { "data-result": result.ref, "data-standing": result.standing },
    h("td", null, h("a", { href: view("study", result.ref) }, result.name), h("div", { className: "pg-quiet" }, result.project)),
    h("td", null, h(StudyLink, { study: result.study_ref }),
      shown && h("div", null, h("a", { href: address(`viewer/viewer?StudyInstanceUIDs=${result.study_uid}`), target: "_blank", rel: "noreferrer" }, "Open in the viewer"))),
    h("td", null, kinds.map((kind) => h("div", { key: kind }, kind))),
    h("td", null, result.senders.join(", ")),
    h("td", { className: "pg-wide" }, result.software.join("; ") || "not named"),
    h("td", null, h(When, { at: result.sent_at, now: data.now })),
    h("td", null, h(Checks, { result })),
    h("td", null, h("span", { className: BADGES[result.standing] }, result.standing),
      result.decided_by && h("div", { className: "pg-quiet", title: clock(result.decided_at) }, `${result.reason}, by ${result.decided_by}`)),
    h("td", null,
      me.releases && h(Decide, { result, done }),
      me.returns && result.state === "verified" && data.destinations.length > 0 &&
        h(SendBack, { result, destinations: data.destinations })));
}

export function ResultsView({ project, me, standing = "" }) {
  const [turn, again] = useState(0);
  const path = inProject(query("results", { standing }), project);
  const next = ({ results }) => ({ before: results.at(-1).result.created_at, ref: results.at(-1).result.ref });
  return h("section", null,
    h("h2", null, "Results that researchers sent back"),
    h("p", { className: "pg-quiet" }, "Who may read a study may read its results. Releases include those that a steward released."),
    h("div", { className: "pg-filters" },
      h("label", null, "Show ",
        h("select", { value: standing, onChange: (event) => (location.hash = view("results", event.target.value).split("#")[1]) },
          STANDINGS.map(([value, title]) => h("option", { key: value, value }, title))))),
    h(Paged, { key: `${path}${turn}`, path, next }, (data) =>
      data.results.length === 0 && !standing
        ? h(Empty, null, "No researcher has sent a result yet. To let somebody send, give a token or peer of the gateway in the site file a name in results.")
        : h(Table, {
          head: ["Result", "Study", "Kind", "Sent by", "Software", "When", "Checks", "Decision", ""],
          empty: "No result is here with this filter. Choose all to see the rest.",
          rows: data.results.map((one) => h(Row, { key: `${one.result.ref}${one.result.decided_at}`, one, data, me, done: () => again(turn + 1) })),
        })));
}
