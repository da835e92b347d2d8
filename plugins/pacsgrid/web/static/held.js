// What waits for a steward: each with its reason, its age and, when asked for, its thumbnails.
import { h, inProject, Paged, plural, query, sortable, StudyLink, Table, useState, view, When } from "./base.js";
import { BeforeAndAfter } from "./pictures.js";

const KINDS = [["", "studies and files"], ["study", "whole studies"], ["file", "single files"]];

function Filters({ data, kind, reason, order }) {
  const go = (to) => (event) => (location.hash = view("held", ...to(event.target.value)).split("#")[1]);
  const codes = Object.keys(data.reasons);
  if (reason && !codes.includes(reason)) codes.push(reason);
  return h("div", { className: "pg-filters" },
    h("label", null, "Show ",
      h("select", { value: kind ?? "", onChange: go((value) => [value, reason, order]) },
        KINDS.map(([value, title]) => h("option", { key: value, value }, title)))),
    h("label", null, "Reason ",
      h("select", { value: reason ?? "", onChange: go((value) => [kind, value, order]) },
        h("option", { value: "" }, "any"),
        codes.map((code) => h("option", { key: code, value: code }, code)))));
}

function Rows({ data, shown, order, sort }) {
  const filtered = Object.keys(data.reasons).length > 0;
  return h(Table, {
    head: ["Study", "Project", "Source", "What", "Reason", "What to do",
      sortable("Since", { falling: "newest", rising: "oldest", order, sort }), ...(shown ? ["Before, after"] : [])],
    empty: filtered
      ? "Nothing is held with this filter. Choose any reason to see the rest."
      : "Nothing waits for a steward. What cannot be released without a look will be listed here.",
    rows: data.rows.map((row, n) =>
      h("tr", { key: `${row.ref}${row.code}${row.since}${n}` },
        h("td", null, h(StudyLink, { study: row.ref })),
        h("td", null, row.project),
        h("td", null, row.source),
        h("td", null, row.whole ? "study" : "one file"),
        h("td", null, h("code", null, row.code)),
        h("td", { className: "pg-wide" }, row.detail),
        h("td", null, h(When, { at: row.since, now: data.now, ago: false })),
        shown && h("td", { className: "pg-small" }, h(BeforeAndAfter, { study: row.ref, number: 0 })))),
  });
}

export function HeldView({ project, me, kind, reason, order = "oldest" }) {
  const [shown, show] = useState(false);
  const path = inProject(query("held", { kind, reason, order }), project);
  const sort = (wanted) => (location.hash = view("held", kind, reason, wanted).split("#")[1]);
  const next = ({ rows }) => ({ since: rows.at(-1).since, ref: rows.at(-1).ref, code: rows.at(-1).code });
  return h(Paged, { key: path, path, next }, (data) =>
    h("section", null,
      h("h2", null, `Held: ${plural(data.counts.studies, "whole study", "whole studies")}, ${plural(data.counts.files, "single file")}`),
      h("p", { className: "pg-quiet" },
        me.reviews
          ? ["To decide, open ", h("a", { key: "review", href: view("review") }, "Review"),
            ", or start the DAG review_held. Thumbnails may show who the patient is: each look is entered into the audit trail."]
          : "Held images are shown to those who may trigger the DAG review_held."),
      h(Filters, { data, kind, reason, order }),
      me.reviews && data.rows.length > 0 &&
        h("button", { type: "button", onClick: () => show(!shown) }, shown ? "Hide thumbnails" : "Show thumbnails"),
      h(Rows, { data, shown, order, sort })));
}
