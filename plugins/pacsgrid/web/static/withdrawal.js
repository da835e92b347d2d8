// The withdrawal form: what identifies the patient is sealed first, then Airflow is asked for a run.
import { address, h, send, useState } from "./base.js";

const KINDS = [
  ["patient_ids", "Patient ID"],
  ["accession_numbers", "Accession number"],
  ["study_uids", "Study instance UID"],
];

const runs = () => new URL("../api/v2/dags/withdraw_patient/dagRuns", address(""));

async function start({ project, kind, identifier }) {
  const body = { project, purpose: "withdrawal", [kind]: [identifier.trim()] };
  const { selection } = await send(address("api/selections"), body);
  return send(runs(), { logical_date: null, conf: { project, selection } });
}

export function WithdrawalForm({ projects }) {
  const [told, tell] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const values = Object.fromEntries(new FormData(form));
    tell({ wait: true });
    try {
      tell({ run: (await start(values)).dag_run_id });
      form.reset();
    } catch (error) {
      tell({ error: error.message });
    }
  };
  return h("details", { className: "pg-withdrawal" },
    h("summary", null, "Withdraw a patient"),
    h("form", { onSubmit: submit, className: "pg-form" },
      h("div", { className: "pg-fields" },
        h("label", { className: "pg-field" }, h("span", null, "Project"),
          h("select", { name: "project" }, projects.map((name) => h("option", { key: name, value: name }, name)))),
        h("label", { className: "pg-field" }, h("span", null, "Identifier"),
          h("select", { name: "kind" }, KINDS.map(([key, title]) => h("option", { key, value: key }, title)))),
        h("label", { className: "pg-field" }, h("span", null, "Value"),
          h("input", { name: "identifier", required: true, maxLength: 64, autoComplete: "off" }))),
      h("p", { className: "pg-quiet" },
        "The value is sealed before the run starts. The run finds the patient's subject and counts the studies; ",
        "then a steward approves, and it cannot be undone. Repeat it for each project of the patient."),
      h("div", null, h("button", { type: "submit", disabled: Boolean(told.wait) }, "Count and ask for approval")),
      told.error && h("p", { className: "pg-error", role: "alert" }, told.error),
      told.run && h("p", { className: "pg-done", role: "status" }, "Started: ",
        h("a", { href: new URL(`../dags/withdraw_patient/runs/${encodeURIComponent(told.run)}`, address("")).href }, told.run))));
}
