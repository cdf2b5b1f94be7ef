// What a search found: time against memory, the plans, and why candidates were cut.
import type { PageData, Row } from '../data';
import { legend } from '../charts';
import { curves, hue_of } from '../curves';
import { h } from '../dom';
import type { Facts } from '../facts';
import { bytes, grouped, percent, time } from '../format';
import { section } from '../section';
import { table, type TableRow } from '../tables';
import { spaced } from '../timeline/words';
import type { Summary } from './compare';

const figures = ['step_time_s', 'mfu', 'peak_memory', 'bubble_mean'];

export function search_page(data: PageData, facts: Facts): Summary {
  const report = data.report!;
  const plans = report.plans as Row[];
  const front = new Set(report.front as number[]);
  const own = report.own as Row;
  const best = plans.find((plan) => plan.error === undefined && plan.fits === true);
  const sentences = best
    ? [`Best is ${best.plan}: ${facts.print('step_time_s', best.step_time_s)} a step.`]
    : ['No simulated plan fits.'];
  sentences.push(
    `Of ${grouped(Number(report.candidates))} candidates ${grouped(Number(report.ranked))} were ranked by the estimate ` +
      `and ${grouped(plans.length)} simulated; the memory limit is ${bytes(Number(report.memory_limit))}.`,
  );
  if (own.step_time_s !== undefined)
    sentences.push(
      `The scenario's own plan takes ${facts.print('step_time_s', own.step_time_s)}` +
        (own.place !== undefined ? `, number ${own.place} of those simulated.` : '.'),
    );
  return {
    sentences,
    sections: [
      section(
        'front',
        'Time against memory',
        'Every plan that was simulated. No plan is both faster and smaller than one of the front.',
        front_chart(plans, front, own, Number(report.memory_limit)),
      ),
      section('plans', 'Plans', null, plan_table(plans, front, own, facts)),
      section('cut', 'What was cut', 'Each candidate by the first rule that holds.', cut_table(report)),
    ],
  };
}

function front_chart(plans: Row[], front: Set<number>, own: Row, limit: number): Node[] {
  const all = plans.map((plan, i) => ({ plan, kind: front.has(i) ? 1 : 0 }));
  if (own.place === undefined) all.push({ plan: own, kind: 2 });
  const known = all
    .filter(({ plan }) => plan.step_time_s !== undefined)
    .sort((a, b) => Number(a.plan.step_time_s) - Number(b.plan.step_time_s));
  if (known.length === 0) return [];
  const names = ['simulated plan', 'on the front', "the scenario's own"];
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');
  const lines = names.map((name, kind) => ({
    name,
    has_line: false,
    is_strong: kind > 0,
    values: known.map((one) =>
      one.kind === kind || (kind === 2 && one.plan === plans[Number(own.place) - 1])
        ? Number(one.plan.peak_memory) / 1e9
        : null,
    ),
  }));
  const box = curves({
    label: `Memory over step time of ${known.length} plans`,
    x: known.map(({ plan }) => Number(plan.step_time_s)),
    x_name: 'step time',
    x_words: (value) => time(Number(value.toPrecision(6))),
    y_name: 'memory',
    y_words: (value) => `${value} GB`,
    lines,
    say: (index) =>
      index !== null &&
      (readout.textContent = `${known[index].plan.plan}: ${time(Number(known[index].plan.step_time_s))}, ${bytes(Number(known[index].plan.peak_memory))} of ${bytes(limit)}`),
  });
  return [
    legend(names.map((name, i) => [name, hue_of(i)])),
    h('figure', {}, box, h('figcaption', {}, readout)),
  ];
}

function plan_table(plans: Row[], front: Set<number>, own: Row, facts: Facts): HTMLElement {
  const row = (plan: Row, name: string, mark?: TableRow['mark']): TableRow => ({
    mark: plan.error !== undefined || plan.fits === false ? 'bad' : mark,
    cells: [
      { shown: name, sorted: Number(name) || Infinity },
      ...figures.map((key) => ({ shown: facts.print(key, plan[key]), sorted: Number(plan[key] ?? NaN) })),
      plan.estimated_step_time_s === undefined ? '' : time(Number(plan.estimated_step_time_s)),
      plan.error !== undefined ? String(plan.error) : facts.print('fits', plan.fits),
      String(plan.plan),
    ],
  });
  const rows = plans.map((plan, i) => row(plan, String(i + 1), front.has(i) ? 'best' : undefined));
  if (own.place === undefined) rows.push(row(own, 'own'));
  return table(
    'Plans',
    [
      { heading: 'number' },
      ...figures.map((name) => ({ heading: facts.heading(name) })),
      { heading: 'estimate' },
      { heading: 'fits' },
      { heading: 'plan', is_text: true },
    ],
    rows,
    true,
  );
}

function cut_table(report: Row): HTMLElement {
  const cut = Object.entries(report.cut as { [rule: string]: number }).filter(([, count]) => count > 0);
  const all = Number(report.candidates);
  return table(
    'Cut',
    [{ heading: 'rule', is_text: true }, { heading: 'candidates' }, { heading: 'of all' }],
    cut.map(([rule, count]) => ({ cells: [spaced(rule), grouped(count), percent(count / all, 2)] })),
  );
}
