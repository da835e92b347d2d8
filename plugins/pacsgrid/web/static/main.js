// The pacsgrid page: tabs, the project in view, and the view that the address names.
import { address, h, here, Loaded, useAnswer, useEffect, useState } from "./base.js";
import { CohortsView } from "./cohorts.js";
import { FlowView } from "./flow.js";
import { GrantsView } from "./grants.js";
import { IngestView } from "./ingest.js";
import { HeldView } from "./held.js";
import { ReleasesView } from "./releases.js";
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

function View({ view, detail, file, project, me }) {
  if (view === "review") return h(ReviewView, { project, me, detail, file });
  if (view === "held") return h(HeldView, { project, me });
  if (view === "replicas") return h(ReplicasView, { project });
  if (view === "cohorts") return h(CohortsView, { project, me });
  if (view === "releases") return h(ReleasesView, { project, me });
  if (view === "grants") return h(GrantsView, { project, me });
  if (view === "studies") return h(StudiesView, { project, state: detail });
  if (view === "ingest") return h(IngestView, { me });
  if (view === "study" && detail) return h(StudyView, { study: detail, me });
  return h(FlowView, { project, me });
}

function Page({ me }) {
  const [view, detail, file] = useHash();
  const [project, setProject] = useState("");
  if (!me.projects.length) {
    return h("p", null, "You may see no project yet; an administrator gives your role one.");
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
    h(View, { key: "view", view, detail, file, project, me }),
  ];
}

globalThis.pacsgrid = function Pacsgrid() {
  const answer = useAnswer("me", 0);
  return h("div", { className: "pacsgrid" },
    h("link", { rel: "stylesheet", href: address("static/page.css") }),
    h(Loaded, { answer }, (me) => h(Page, { me })));
};
