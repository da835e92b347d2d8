// Lists of studies, and one study's whole story from the audit trail.
import { address, age, bytes, clock, h, inProject, Loaded, plural, StudyLink, Table, useAnswer, useState } from "./base.js";
import { BeforeAndAfter } from "./pictures.js";

const DEPOSITED = ["deposited", "replicated", "verified"];

export function StudiesView({ project, state }) {
  const path = state ? `studies?state=${encodeURIComponent(state)}` : "studies";
  const answer = useAnswer(inProject(path, project));
  return h(Loaded, { answer }, (rows) =>
    h("section", null,
      h("h2", null, state ? `Studies ${state}` : "Studies that changed last"),
      h(Table, {
        head: ["Study", "Project", "Source", "State", "Changed"],
        empty: "No studies.",
        rows: rows.map((row) =>
          h("tr", { key: row.ref },
            h("td", null, h(StudyLink, { study: row.ref })),
            h("td", null, row.project),
            h("td", null, row.source),
            h("td", null, row.state),
            h("td", { title: clock(row.changed_at) }, age(row.changed_at)))),
      })));
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
      h("p", null, `${story.study.state}, project ${story.study.project}, from ${story.study.source}; `,
        `${plural(story.instances, "instance")}, ${bytes(story.size)}`),
      me.viewer && story.study_uid && DEPOSITED.includes(story.study.state) &&
        h("p", null, h("a", { href: address(`viewer/viewer?StudyInstanceUIDs=${story.study_uid}`), target: "_blank" }, "Open in the viewer"))),
    story.held.length > 0 && h(Held, { key: "held", story, pictures, reviews: me.reviews }),
    story.warnings.length > 0 && h(Warnings, { key: "warnings", warnings: story.warnings }),
    story.not_wanted.length > 0 && h(NotWanted, { key: "not_wanted", series: story.not_wanted }),
    h("section", { key: "copies" },
      h("h2", null, "Replicas"),
      h(Table, {
        head: ["Zone", "Good", "Bad", "Oldest proof"],
        empty: "No replica is proven yet.",
        rows: story.copies.map((row) =>
          h("tr", { key: row.zone },
            h("td", null, row.zone),
            h("td", { className: "pg-number" }, row.good.toLocaleString()),
            h("td", { className: "pg-number" }, row.bad.toLocaleString()),
            h("td", { title: clock(row.at) }, age(row.at)))),
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
