// What waits for a steward: each with its reason, its age and, when asked for, its thumbnails.
import { age, clock, h, inProject, Loaded, plural, StudyLink, Table, useAnswer, useState } from "./base.js";
import { BeforeAndAfter } from "./pictures.js";

// Whole studies and single files are counted apart. A page has the 500 oldest.
function heldCounts(rows) {
  const whole = rows.filter((row) => row.whole).length;
  const files = rows.length - whole;
  const studies = whole === 1 ? "1 study" : `${whole.toLocaleString()} studies`;
  return `${studies}, ${plural(files, "file")}${rows.length >= 500 ? " (the oldest 500)" : ""}`;
}

export function HeldView({ project, me }) {
  const answer = useAnswer(inProject("held", project));
  const [shown, show] = useState(false);
  return h(Loaded, { answer }, (rows) =>
    h("section", null,
      h("h2", null, `Held: ${heldCounts(rows)}`),
      h("p", { className: "pg-quiet" },
        me.reviews
          ? "To decide, open Review, or start the DAG review_held. Thumbnails may show who the patient is: each look is entered into the audit trail."
          : "Held images are shown to those who may trigger the DAG review_held."),
      me.reviews && rows.length > 0 &&
        h("button", { type: "button", onClick: () => show(!shown) }, shown ? "Hide thumbnails" : "Show thumbnails"),
      h(Table, {
        head: ["Study", "Project", "Source", "What", "Reason", "What to do", "Since", ...(shown ? ["Before, after"] : [])],
        empty: "Nothing waits for a steward.",
        rows: rows.map((row) =>
          h("tr", { key: `${row.ref}${row.code}${row.since}` },
            h("td", null, h(StudyLink, { study: row.ref })),
            h("td", null, row.project),
            h("td", null, row.source),
            h("td", null, row.whole ? "study" : "one file"),
            h("td", null, h("code", null, row.code)),
            h("td", { className: "pg-wide" }, row.detail),
            h("td", { title: clock(row.since) }, age(row.since)),
            shown && h("td", { className: "pg-small" }, h(BeforeAndAfter, { study: row.ref, number: 0 })))),
      })));
}
