// Cohorts: what was released, version by version, and which patients (pseudonyms) withdrew.
import { address, age, bytes, clock, h, here, inProject, Paged, Table, When } from "./base.js";
import { WithdrawalForm } from "./withdrawal.js";

const dag = (name) => new URL(`../dags/${name}`, address("")).href;

function Standing({ row, now }) {
  return row.retired_at
    ? h("span", { className: "pg-badge pg-badge-held", title: clock(row.retired_at) }, "replaced after a withdrawal")
    : h("span", { className: "pg-badge", title: `for ${age(row.made_at, now)}` }, "can be fetched");
}

function Releases({ rows, now }) {
  return h(Table, {
    head: ["Release", "Project", "Version", "Subjects", "Studies", "Instances", "Size", "Released", ""],
    empty: ["No cohort was released yet. Choose one in ", h("a", { key: "cohorts", href: here("cohorts") }, "Cohorts"), "."],
    rows: rows.map((row) =>
      h("tr", { key: `${row.project}/${row.name}/${row.version}`, "data-release": `${row.name}/v${row.version}` },
        h("td", null, row.name),
        h("td", null, row.project),
        h("td", null, `v${row.version}`),
        [row.subjects, row.studies, row.instances].map((count, n) =>
          h("td", { key: n, className: "pg-number" }, count.toLocaleString())),
        h("td", { className: "pg-number" }, bytes(row.size)),
        h("td", null, h(When, { at: row.made_at, now })),
        h("td", null, h(Standing, { row, now })))),
  });
}

function Withdrawals({ rows, now }) {
  return h(Table, {
    head: ["Subject", "Project", "Asked", "Proven gone"],
    empty: "No patient has withdrawn.",
    rows: rows.map((row) =>
      h("tr", { key: `${row.project}/${row.subject}` },
        h("td", { className: "pg-ref" }, row.subject),
        h("td", null, row.project),
        h("td", null, h(When, { at: row.asked_at, now })),
        row.proven_at
          ? h("td", { title: clock(row.proven_at) }, "from every zone")
          : h("td", null, h("span", { className: "pg-badge pg-badge-held" }, `waits for ${row.waiting.join(", ")}`)))),
  });
}

const nextRelease = ({ releases }) => {
  const { made_at, name, version } = releases.at(-1);
  return { before: made_at, name, version };
};
const nextWithdrawal = ({ withdrawals }) => {
  const { asked_at, project, subject } = withdrawals.at(-1);
  return { before: asked_at, of: project, subject };
};

export function ReleasesView({ project, me }) {
  return [
    h("section", { key: "releases" },
      h("h2", null, "Releases"),
      h("p", { className: "pg-quiet" }, "To choose a cohort and release it, use ",
        h("a", { href: here("cohorts") }, "Cohorts"), " or the DAG ",
        h("a", { href: dag("release_cohort") }, "release_cohort"), "; a steward approves it there."),
      h(Paged, { key: project, path: inProject("releases", project), next: nextRelease }, ({ now, releases }) =>
        h(Releases, { rows: releases, now }))),
    h("section", { key: "withdrawals" },
      h("h2", null, "Withdrawals"),
      h("p", { className: "pg-quiet" }, "A withdrawal is a run of the DAG ",
        h("a", { href: dag("withdraw_patient") }, "withdraw_patient"), "; a steward approves it there."),
      me.withdraws && h(WithdrawalForm, { projects: project ? [project] : me.projects }),
      h(Paged, { key: project, path: inProject("withdrawals", project), next: nextWithdrawal }, ({ now, withdrawals }) =>
        h(Withdrawals, { rows: withdrawals, now }))),
  ];
}
