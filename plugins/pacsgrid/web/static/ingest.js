// The ingest form: what identifies is sealed first, then Airflow is asked for a run as anywhere else.
import { address, h, Loaded, send, useAnswer, useState } from "./base.js";

const NAMED = [
  ["patient_ids", "Patient IDs"],
  ["accession_numbers", "Accession numbers"],
  ["study_uids", "Study instance UIDs"],
];

const SERIES = [
  ["series_include", "Take only series", "one rule a line, such as modality=CT; slice_thickness<=1.5"],
  ["series_exclude", "Leave out series", "such as description=scout|localizer or instances<10"],
];

const CODE = /^[A-Z0-9]{2,16}$/;

const lines = (text) => text.split(/[\n,;]/).map((line) => line.trim()).filter(Boolean);

// A rule may contain commas and semicolons.
const rules = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// What Airflow would refuse too, in words that help.
function wrong(values) {
  if (values.date_from && values.date_to && values.date_from > values.date_to) {
    return "The first study date lies after the last; swap them.";
  }
  const odd = lines(values.modalities).find((name) => !CODE.test(name.toUpperCase()));
  return odd && `Modalities: "${odd}" is no modality code; write codes such as CT, MR or US, one by one.`;
}

async function start(values) {
  const named = Object.fromEntries(NAMED.map(([key]) => [key, lines(values[key])]));
  let selection = null;
  if (Object.values(named).some((list) => list.length)) {
    const body = { project: values.project, ...named };
    selection = (await send(address("api/selections"), body)).selection;
  }
  await send(address("api/series"), { include: rules(values.series_include), exclude: rules(values.series_exclude) });
  const conf = {
    source: values.source,
    project: values.project,
    selection,
    date_from: values.date_from || null,
    date_to: values.date_to || null,
    modalities: lines(values.modalities).map((name) => name.toUpperCase()),
    series_include: rules(values.series_include),
    series_exclude: rules(values.series_exclude),
    profile: values.profile || null,
    dry_run: values.dry_run === "on",
  };
  const runs = new URL("../api/v2/dags/ingest_studies/dagRuns", address(""));
  return send(runs, { logical_date: null, conf });
}

function Field({ title, note, children }) {
  return h("label", { className: "pg-field" }, h("span", null, title), children,
    note && h("small", { className: "pg-quiet" }, note));
}

function Choice({ name, options, empty, ...more }) {
  return h("select", { name, ...more },
    empty && h("option", { value: "" }, empty),
    options.map((option) => h("option", { key: option, value: option }, option)));
}

export function IngestView({ me }) {
  const answer = useAnswer("form", 0);
  if (!me.ingests) return h("p", null, "Starting an ingest needs the right to trigger ingest_studies.");
  return h(Loaded, { answer }, (form) => h(Form, { form }));
}

function Form({ form }) {
  const projects = Object.keys(form.projects);
  const [project, setProject] = useState(projects[0]);
  const [told, tell] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    const error = wrong(values);
    if (error) {
      tell({ error });
      return;
    }
    tell({ wait: true });
    try {
      tell({ run: (await start(values)).dag_run_id });
    } catch (error) {
      tell({ error: error.message });
    }
  };
  return h("form", { onSubmit: submit, className: "pg-form" },
    h("h2", null, "Take studies from a source"),
    h("div", { className: "pg-fields" },
      h(Field, { title: "Source" }, h(Choice, { name: "source", options: form.sources })),
      h(Field, { title: "Project" },
        h(Choice, { name: "project", options: projects, value: project, onChange: (event) => setProject(event.target.value) })),
      h(Field, { title: "Profile" },
        h(Choice, { name: "profile", options: form.projects[project], empty: "the project's own" })),
      h(Field, { title: "Study date from" }, h("input", { type: "date", name: "date_from" })),
      h(Field, { title: "Study date to" }, h("input", { type: "date", name: "date_to" })),
      h(Field, { title: "Modalities", note: "such as CT, MR; none for all" }, h("input", { name: "modalities" })),
      NAMED.map(([key, title]) =>
        h(Field, { key, title, note: "one a line" }, h("textarea", { name: key, rows: 4, autoComplete: "off" }))),
      SERIES.map(([key, title, note]) =>
        h(Field, { key, title, note }, h("textarea", { name: key, rows: 3, autoComplete: "off" })))),
    h("p", { className: "pg-quiet" },
      "Patient IDs, accession numbers and UIDs are sealed before the run starts; leave all three empty for every study of the dates and modalities."),
    h("label", null, h("input", { type: "checkbox", name: "dry_run" }), " Dry run: only tell what would be taken"),
    h("div", null, h("button", { type: "submit", disabled: Boolean(told.wait) }, "Start")),
    told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
    told.run && h("p", { className: "pg-done", role: "status" }, "Started: ",
      h("a", { href: new URL(`../dags/ingest_studies/runs/${encodeURIComponent(told.run)}`, address("")).href }, told.run)));
}
