// What waits for a steward: each with its reason and age; pictures on the study's own page.
import { age, clock, h, inProject, Loaded, plural, StudyLink, Table, useAnswer } from "./base.js";

export function HeldView({ project, me }) {
  const answer = useAnswer(inProject("held", project));
  return h(Loaded, { answer }, (rows) =>
    h("section", null,
      h("h2", null, `Held: ${plural(rows.length, "item")}`),
      h("p", { className: "pg-quiet" },
        me.reviews
          ? "Open a study to see its held images; to decide, start the DAG review_held."
          : "Held images are shown to those who may trigger the DAG review_held."),
      h(Table, {
        head: ["Study", "Project", "Source", "What", "Reason", "What to do", "Since"],
        empty: "Nothing waits for a steward.",
        rows: rows.map((row) =>
          h("tr", { key: `${row.ref}${row.code}${row.since}` },
            h("td", null, h(StudyLink, { study: row.ref })),
            h("td", null, row.project),
            h("td", null, row.source),
            h("td", null, row.whole ? "study" : "one file"),
            h("td", null, h("code", null, row.code)),
            h("td", { className: "pg-wide" }, row.detail),
            h("td", { title: clock(row.since) }, age(row.since)))),
      })));
}
