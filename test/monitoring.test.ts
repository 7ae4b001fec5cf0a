/** The shipped alert rules and dashboard, loaded by Prometheus' own tools, against the metrics that there are. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { METRIC_FAMILIES } from '../src/control/metric-families.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { askEach, promtool, runPromtool } from './rigs/monitoring.ts';
import { Prometheus } from './rigs/prometheus.ts';

const FOLDER = new URL('../monitoring/', import.meta.url).pathname;
const DOC = new URL('../docs/monitoring.md', import.meta.url);
const rules = path.join(FOLDER, 'alerts.yml');

/** Names that a scrape gives: those of histograms with their endings. */
const NAMES = new Set(
  METRIC_FAMILIES.flatMap(({ name, type }) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name],
  ),
);

const unknownIn = (text: string): string[] =>
  [...new Set(text.match(/holdfast_\w+/g))].filter((name) => !NAMES.has(name));

type Panel = {
  readonly id: number;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
};
type Dashboard = {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
};

const dashboardText = fs.readFileSync(path.join(FOLDER, 'grafana-dashboard.json'), 'utf8');
const dashboard = JSON.parse(dashboardText) as Dashboard;

test('the alert rules are rules, and each alert fires for what it is there for', promtool, () => {
  const checked = runPromtool(['check', 'rules', rules]);
  assert.equal(checked.status, 0, checked.output);
  const tests = path.join(FOLDER, 'alerts.test.yml');
  const tested = runPromtool(['test', 'rules', tests]);
  assert.equal(tested.status, 0, tested.output);
  const alerts = [...fs.readFileSync(rules, 'utf8').matchAll(/alert: (\w+)/g)].map(
    ([, name]) => name,
  );
  assert.ok(alerts.length > 5);
  const text = fs.readFileSync(tests, 'utf8');
  for (const name of alerts) {
    assert.match(text, new RegExp(`alertname="${name}"`), `${name} is made to fire`);
    assert.match(text, new RegExp(`alertname: ${name} }`), `${name} is silent where all is well`);
  }
});

test('the tools notice a rule that is none, and an alert that does not fire', promtool, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-rules-'));
  try {
    const text = fs.readFileSync(rules, 'utf8');
    fs.copyFileSync(path.join(FOLDER, 'alerts.test.yml'), path.join(folder, 'alerts.test.yml'));
    const file = path.join(folder, 'alerts.yml');
    fs.writeFileSync(file, text.replace('holdfast_process_up == 0', 'holdfast_process_up =='));
    assert.notEqual(runPromtool(['check', 'rules', file]).status, 0);
    fs.writeFileSync(file, text.replace('holdfast_process_up == 0', 'holdfast_process_up == 2'));
    assert.equal(runPromtool(['check', 'rules', file]).status, 0);
    assert.notEqual(runPromtool(['test', 'rules', path.join(folder, 'alerts.test.yml')]).status, 0);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('rules, dashboard and document name only metrics that there are', () => {
  assert.deepEqual(unknownIn(fs.readFileSync(rules, 'utf8')), []);
  assert.deepEqual(unknownIn(dashboardText), []);
  const families = new Set(METRIC_FAMILIES.map(({ name }) => name));
  const told = fs.readFileSync(DOC, 'utf8').match(/`holdfast_\w+`/g) ?? [];
  assert.deepEqual(new Set(told.map((name) => name.slice(1, -1))), families);
  assert.deepEqual(unknownIn('rate(holdfast_nothing_total[1m])'), ['holdfast_nothing_total']);
});

/** The expressions as Grafana sends them, with every variable at "All". */
const filled = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$\w+/g, '.*');

test('each expression of the dashboard is one, as Prometheus reads it', promtool, () => {
  const expressions = [
    ...dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => [title, expr] as const),
    ),
    ...dashboard.annotations.list.map(({ expr }) => ['annotation', expr] as const),
  ];
  assert.ok(expressions.length > 30);
  const file = path.join(os.tmpdir(), `hf-dashboard-${process.pid}.yml`);
  // JSON is YAML.
  const check = (all: readonly (readonly [string, string])[]) => {
    const recorded = all.map(([, expr], at) => ({
      record: `expression:${at}`,
      expr: filled(expr),
    }));
    fs.writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
    return runPromtool(['check', 'rules', file]);
  };
  try {
    const { status, output } = check(expressions);
    assert.equal(status, 0, output);
    assert.notEqual(check([['wrong', 'rate(holdfast_volumes']]).status, 0);
  } finally {
    fs.rmSync(file, { force: true });
  }
});

test('panels are told apart, and each shows something', () => {
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { title, targets } of dashboard.panels)
    assert.ok(title !== '' && targets?.length !== 0);
});

test(
  'a Prometheus that scrapes a real installation has an answer for every panel, and no alert',
  { ...promtool, timeout: 110_000 },
  async () => {
    const rig = new CliRig();
    const prometheus = new Prometheus(rig.directory);
    after(async () => {
      await prometheus.end();
      await rig.run(['down']);
      await rig.close();
    });
    const listen = `127.0.0.1:${await prometheus.freePort()}`;
    await rig.json('up', '--detach', '--sparse', '--drive-size', '1GiB', '--listen', listen);
    const { file } = await rig.json('token', 'show');
    await rig.json('volume', 'create', 'db', '--size', '64MiB');
    const { uri } = await rig.json('volume', 'attach', 'db', '--nbd');
    await prometheus.start({ target: listen, tokenFile: String(file), rules });
    const panels = dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => ({ title, expr: filled(expr) })),
    );
    const silent = new Set(panels);
    for (const deadline = performance.now() + 90_000; silent.size > 0;) {
      assert.ok(
        performance.now() < deadline,
        `no answer for ${[...silent].map(({ expr }) => expr).join('\n')}`,
      );
      await askEach(String(uri));
      for (const panel of silent) {
        const result = await prometheus.query(panel.expr);
        const isNumber = result.some(({ value: [, text] }) => !Number.isNaN(Number(text)));
        if (isNumber) silent.delete(panel);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    const firing = await prometheus.query('ALERTS{alertstate="firing"}');
    assert.deepEqual(firing, []);
    assert.equal((await prometheus.query('up == 1')).length, 1);
  },
);
