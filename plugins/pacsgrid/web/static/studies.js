// Lists of studies, and one study's whole story from the audit trail.
import {
  address, bytes, clock, h, inProject, Loaded, Paged, plural, query, sortable, State, StudyLink, Table, useAnswer, useState, view, When,
} from "./base.js";
import { BeforeAndAfter } from "./pictures.js";

const DEPOSITED = ["deposited", "replicated", "verified"];

const STATES = [
  "found", "retrieved", "anonymised", "deposited", "replicated", "verified", "held", "superseded", "not-wanted", "withdrawn",
];
// What the ledger says of the source of a result.
const RESULT = "pacsgrid:result";

function origin(source) {
  return source === RESULT ? "a researcher's result" : source;
}

function Filters({ data, state, source, order, find }) {
  const form = useAnswer("form", 0);
  const go = (to) => (event) => (location.hash = view("studies", ...to(event.target.value)).split("#")[1]);
  const sources = [...(form.data?.sources ?? []), RESULT];
  if (source && !sources.includes(source)) sources.push(source);
  const ask = (event) => {
    event.preventDefault();
    find(new FormData(event.target).get("find").trim());
  };
  return h("div", { className: "pg-filters" },
    h("label", null, "State ",
      h("select", { value: state ?? "", onChange: go((value) => [value, source, order]) },
        h("option", { value: "" }, "any"),
        STATES.map((name) => h("option", { key: name, value: name }, `${name} (${(data.states[name] ?? 0).toLocaleString()})`)))),
    h("label", null, "Source ",
      h("select", { value: source ?? "", onChange: go((value) => [state, value, order]) },
        h("option", { value: "" }, "any"),
        sources.map((name) => h("option", { key: name, value: name }, origin(name))))),
    h("form", { onSubmit: ask, className: "pg-find" },
      h("label", null, "Reference begins with ", h("input", { name: "find", maxLength: 23, autoComplete: "off" })),
      h("button", { type: "submit" }, "Find")));
}

export function StudiesView({ project, state, source, order = "newest" }) {
  const [found, find] = useState("");
  const wanted = found ? { find: found } : { state, source, order };
  const path = inProject(query("studies", wanted), project);
  const sort = (way) => (location.hash = view("studies", state, source, way).split("#")[1]);
  const bySize = order === "largest" || order === "smallest";
  const next = ({ rows }) => ({ after: bySize ? rows.at(-1).size : rows.at(-1).changed_at, ref: rows.at(-1).ref });
  return h("section", null,
    h("h2", null, found ? `Studies whose reference begins with ${found}` : state ? `Studies ${state}` : "Studies"),
    found && h("button", { type: "button", onClick: () => find("") }, "Show all studies"),
    h(Paged, { key: path, path, next }, (data) => [
      h(Filters, { key: "filters", data, state, source, order, find }),
      h(Table, {
        key: "rows",
        head: ["Study", "Project", "Source", "State", "Instances",
          sortable("Size", { falling: "largest", rising: "smallest", order, sort }),
          sortable("Changed", { falling: "newest", rising: "oldest", order, sort })],
        empty: found || state || source
          ? "No study is here with this filter. Choose any state and source to see the rest."
          : ["No study was ingested yet. To start, open ", h("a", { key: "ingest", href: view("ingest") }, "Ingest"), "."],
        rows: data.rows.map((row) =>
          h("tr", { key: row.ref },
            h("td", null, h(StudyLink, { study: row.ref })),
            h("td", null, row.project),
            h("td", null, origin(row.source)),
            h("td", null, h(State, { state: row.state })),
            h("td", { className: "pg-number" }, row.instances.toLocaleString()),
            h("td", { className: "pg-number" }, bytes(row.size)),
            h("td", null, h(When, { at: row.changed_at, now: data.now })))),
      }),
    ]));
}

function Held({ story, pictures, reviews }) {
  return h("section", null,
    h("h2", null, "Held"),
    h("ul", null, story.held.map((row) =>
      h("li", { key: `${row.code}${row.since}` },
        h("code", null, row.code), ` ${row.whole ? "the study" : "one file"}: ${row.detail}`))),
    reviews && pictures > 0 && h(Pictures, { study: story.study.ref, pictures, project: story.study.project }));
}

// Shown only when asked for: each look at a held image is entered into the audit trail.
function Pictures({ study, pictures, project }) {
  const [shown, show] = useState(0);
  const [profile, choose] = useState("");
  const form = useAnswer("form", 0);
  const more = Math.min(12, pictures - shown);
  const profiles = form.data?.projects[project] ?? [];
  return h("div", null,
    h("p", { className: "pg-warning" },
      "Held images may show who the patient is. That you look is entered into the audit trail."),
    profiles.length > 0 &&
      h("label", null, "Profile ",
        h("select", { value: profile, onChange: (event) => choose(event.target.value) },
          h("option", { value: "" }, "the project's own"),
          profiles.map((name) => h("option", { key: name, value: name }, name)))),
    h("div", { className: "pg-pictures" },
      Array.from({ length: shown }, (_, n) => h(BeforeAndAfter, { key: n, study, number: n, profile }))),
    more > 0 && h("button", { type: "button", onClick: () => show(shown + more) },
      shown ? `Show ${more} more` : `Show ${plural(more, "held image")}`));
}

function Warnings({ warnings }) {
  return h("section", null,
    h("h2", null, "Content"),
    h("ul", null, warnings.map((row) =>
      h("li", { key: `${row.code}${row.series_uid}` }, h("code", null, row.code), " ",
        row.series_uid && `series ${row.series_uid}: `, row.detail))));
}

function NotWanted({ series }) {
  return h("section", null,
    h("h2", null, "Not wanted"),
    h(Table, {
      head: ["Series", "Modality", "Instances", "Rule"],
      rows: series.map((row) =>
        h("tr", { key: row.series_uid },
          h("td", null, row.series_uid),
          h("td", null, row.modality),
          h("td", { className: "pg-number" }, row.instances.toLocaleString()),
          h("td", null, row.rule))),
    }));
}

function timeline({ audit, accesses, decisions }) {
  const events = [
    ...audit.map((row) => ({
      at: row.at, who: row.actor, kind: row.became,
      text: row.was ? `${row.was} → ${row.became}` : row.became, why: row.reason,
    })),
    ...accesses.map((row) => ({ at: row.at, who: row.who, kind: "seen", text: "seen", why: row.what })),
    ...decisions.map((row) => ({ at: row.at, who: row.who, kind: "decided", text: `decided: ${row.verdict}`, why: row.reason })),
  ];
  return events.sort((a, b) => new Date(a.at) - new Date(b.at));
}

export function StudyView({ study, me }) {
  const answer = useAnswer(`studies/${encodeURIComponent(study)}`);
  return h(Loaded, { answer }, ({ story, pictures }) => [
    h("section", { key: "head" },
      h("h2", null, "Study ", h("span", { className: "pg-ref" }, story.study.ref)),
      h("p", null, `${story.study.state}, project ${story.study.project}, from ${origin(story.study.source)}; `,
        `${plural(story.instances, "instance")}, ${bytes(story.size)}`),
      me.viewer && story.study_uid && DEPOSITED.includes(story.study.state) &&
        h("p", null, h("a", { href: address(`viewer/viewer?StudyInstanceUIDs=${story.study_uid}`), target: "_blank", rel: "noreferrer" }, "Open in the viewer"))),
    story.held.length > 0 && h(Held, { key: "held", story, pictures, reviews: me.reviews }),
    story.warnings.length > 0 && h(Warnings, { key: "warnings", warnings: story.warnings }),
    story.not_wanted.length > 0 && h(NotWanted, { key: "not_wanted", series: story.not_wanted }),
    h("section", { key: "copies" },
      h("h2", null, "Replicas"),
      h(Table, {
        head: ["Zone", "Good", "Bad", "Oldest proof"],
        empty: "No replica is proven yet. The DAG replicate_and_verify does it after each ingest, and at night.",
        rows: story.copies.map((row) =>
          h("tr", { key: row.zone },
            h("td", null, row.zone),
            h("td", { className: "pg-number" }, row.good.toLocaleString()),
            h("td", { className: "pg-number" }, row.bad.toLocaleString()),
            h("td", null, h(When, { at: row.at, ago: false })))),
      })),
    h("section", { key: "story" },
      h("h2", null, "Story"),
      h("ol", { className: "pg-story" }, timeline(story).map((event, n) =>
        h("li", { key: n, className: `pg-event-${event.kind}` },
          h("time", { dateTime: event.at }, clock(event.at)),
          h("strong", null, event.text),
          h("span", null, [event.why, `by ${event.who}`].filter(Boolean).join(", ")))))),
  ]);
}
