// The pacsgrid page: tabs, the project in view, and the view that the address names.
import { address, Empty, h, here, Loaded, useAnswer, useEffect, useState, setZone } from "./base.js";
import { CohortsView } from "./cohorts.js";
import { FlowView } from "./flow.js";
import { GrantsView } from "./grants.js";
import { IngestView } from "./ingest.js";
import { HeldView } from "./held.js";
import { ReleasesView } from "./releases.js";
import { ResultsView } from "./results.js";
import { ReviewView } from "./review.js";
import { ReplicasView } from "./replicas.js";
import { StudiesView, StudyView } from "./studies.js";

const TABS = [
  ["flow", "Flow"],
  ["review", "Review"],
  ["held", "Held"],
  ["replicas", "Replicas"],
  ["studies", "Studies"],
  ["cohorts", "Cohorts"],
  ["releases", "Releases"],
  ["results", "Results"],
  ["grants", "Researchers"],
  ["ingest", "Ingest"],
];

function useHash() {
  const read = () => location.hash.slice(1) || "flow";
  const [hash, setHash] = useState(read);
  useEffect(() => {
    const changed = () => setHash(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return hash.split("/").map(decodeURIComponent);
}

function View({ view, detail, file, rest, project, me }) {
  if (view === "review") return h(ReviewView, { project, me, detail, file });
  if (view === "held") return h(HeldView, { project, me, kind: detail, reason: file, order: rest[0] });
  if (view === "replicas") return h(ReplicasView, { project });
  if (view === "cohorts") return h(CohortsView, { project, me });
  if (view === "releases") return h(ReleasesView, { project, me });
  if (view === "results") return h(ResultsView, { project, me, standing: detail });
  if (view === "grants") return h(GrantsView, { project, me });
  if (view === "studies") return h(StudiesView, { project, me, state: detail, source: file, order: rest[0] });
  if (view === "ingest") return h(IngestView, { me });
  if (view === "study" && detail) return h(StudyView, { study: detail, me });
  return h(FlowView, { project, me });
}

function Page({ me }) {
  const [view, detail, file, ...rest] = useHash();
  const [project, setProject] = useState("");
  if (!me.projects.length) {
    return h(Empty, null, "You may see no project yet. Ask an administrator to give your role read access to one, as the install page says.");
  }
  return [
    h("nav", { key: "tabs", "aria-label": "pacsgrid" },
      TABS.filter(([name]) => name !== "review" || me.reviews).map(([name, title]) =>
        h("a", { key: name, href: here(name), "aria-current": view === name ? "page" : undefined }, title)),
      me.projects.length > 1 &&
        h("label", { className: "pg-project" }, "Project ",
          h("select", { value: project, onChange: (event) => setProject(event.target.value) },
            h("option", { value: "" }, "all"),
            me.projects.map((name) => h("option", { key: name, value: name }, name))))),
    h("div", { key: "view" }, h(View, { view, detail, file, rest, project, me })),
    h("p", { key: "zone", className: "pg-quiet" }, `Times are those of ${me.time_zone}.`),
  ];
}

globalThis.pacsgrid = function Pacsgrid() {
  const answer = useAnswer("me", 0);
  return h("div", { className: "pacsgrid" },
    h("link", { rel: "stylesheet", href: address("static/page.css") }),
    h(Loaded, { answer }, (me) => {
      setZone(me.time_zone);
      return h(Page, { me });
    }));
};
