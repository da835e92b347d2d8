// Replica health: per project and zone what is proven, what is bad, and how old the proof is.
import { h, inProject, Loaded, plural, Table, useAnswer, view, When } from "./base.js";

function verdict(project, zone) {
  const rows = project.resources.filter((row) => row.zone === zone);
  const good = rows.reduce((sum, row) => sum + row.good, 0);
  const bad = rows.reduce((sum, row) => sum + row.bad, 0);
  const wanted = project.instances * project.wanted[zone];
  if (bad) return ["bad", `${plural(bad, "replica")} bad`];
  if (good < wanted) return ["held", `${plural(wanted - good, "replica")} missing`];
  return ["good", project.instances ? "all proven" : "nothing yet"];
}

function ZoneCard({ project, zone, now }) {
  const rows = project.resources.filter((row) => row.zone === zone);
  const [kind, text] = verdict(project, zone);
  return h("article", { className: `pg-card pg-card-${kind}`, "data-zone": zone },
    h("h3", null, zone, h("span", { className: `pg-badge pg-badge-${kind}` }, text)),
    h("p", { className: "pg-quiet" },
      `${plural(project.wanted[zone], "copy", "copies")} wanted of `,
      h("a", { href: view("studies", "verified") }, plural(project.instances, "instance")), " of verified studies"),
    h(Table, {
      head: ["Resource", "Good", "Bad", "Ever bad", "Oldest proof"],
      empty: "No replica is proven yet. The DAG replicate_and_verify makes and proves replicas after each ingest.",
      rows: rows.map((row) =>
        h("tr", { key: row.resource },
          h("td", null, row.resource),
          h("td", { className: "pg-number" }, row.good.toLocaleString()),
          h("td", { className: "pg-number" }, row.bad.toLocaleString()),
          h("td", { className: "pg-number" }, row.failures.toLocaleString()),
          h("td", null, h(When, { at: row.oldest, now, ago: false })))),
    }));
}

export function ReplicasView({ project }) {
  const answer = useAnswer(inProject("replicas", project));
  return h(Loaded, { answer }, (health) =>
    health.projects.map((entry) =>
      h("section", { key: entry.project },
        h("h2", null, `Project ${entry.project}`),
        h("div", { className: "pg-cards" },
          Object.keys(entry.wanted).map((zone) =>
            h(ZoneCard, { key: zone, project: entry, zone, now: health.now }))))));
}
