// A sweep: one measure over one of its axes, a curve for each choice of the others, and every point as a row.
import type { PageData } from '../data';
import { legend } from '../charts';
import { curves, hue_of, type Line } from '../curves';
import { fill, h } from '../dom';
import type { Facts } from '../facts';
import { grouped } from '../format';
import { section } from '../section';
import { table } from '../tables';
import type { Summary } from './compare';

const most_curves = 24;
const main_figures = [
  'step_time_s',
  'tokens_per_s_per_device',
  'mfu',
  'bubble_mean',
  'exposed_communication_s',
  'peak_memory',
  'fits',
];

interface Sweep {
  columns: string[];
  rows: string[][];
  keys: string[]; // the axes
  measures: string[]; // columns with numbers
}

export function sweep_of(table: { columns: string[]; rows: string[][] }, facts: Facts): Sweep {
  const first = table.columns.findIndex((name) => facts.find(name) !== undefined || name === 'error');
  const keys = table.columns.slice(0, first);
  const measures = table.columns.filter(
    (name, i) =>
      i >= first &&
      facts.find(name) &&
      table.rows.some((row) => row[i] !== '' && Number.isFinite(Number(row[i]))),
  );
  return { ...table, keys, measures };
}

const number_of = (text: string) => (text === '' ? NaN : Number(text));

/** Values of an axis in their order; where all are numbers, perhaps with one unit, at their places, those of
    a wide range by their logarithms. */
export function places_of(values: string[]): { words: string[]; places: number[] } {
  const words = [...new Set(values)];
  const parsed = words.map((word) => /^(-?[\d.]+(?:e[-+]?\d+)?)(?:\s*(\S.*))?$/i.exec(word));
  const units = new Set(parsed.map((match) => match?.[2] ?? ''));
  if (words.length > 1 && parsed.every((match) => match) && units.size === 1) {
    const numbers = parsed.map((match) => Number(match![1]));
    const order = words.map((_, i) => i).sort((a, b) => numbers[a] - numbers[b]);
    const sorted = order.map((i) => numbers[i]);
    const is_wide = sorted[0] > 0 && sorted[sorted.length - 1] >= 8 * sorted[0];
    return { words: order.map((i) => words[i]), places: is_wide ? sorted.map(Math.log2) : sorted };
  }
  return { words, places: words.map((_, i) => i) };
}

function chart_of(sweep: Sweep, facts: Facts, axis: string, measure: string): Node[] {
  const [x, y] = [axis, measure].map((name) => sweep.columns.indexOf(name));
  const { words, places } = places_of(sweep.rows.map((row) => row[x]));
  const others = sweep.keys.map((_, i) => i).filter((i) => i !== x);
  const lines = new Map<string, Line>();
  for (const row of sweep.rows) {
    const name = others.map((i) => row[i]).join(', ');
    if (!lines.has(name)) lines.set(name, { name, values: words.map(() => null), has_line: true });
    const value = number_of(row[y]);
    if (Number.isFinite(value)) lines.get(name)!.values[words.indexOf(row[x])] = value;
  }
  const all = [...lines.values()].slice(0, most_curves);
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' }, '\u00a0');
  const box = curves({
    label: `${facts.label(measure)} over ${axis}, ${all.length} curves; the numbers stand in the table below`,
    x: places,
    x_name: axis,
    x_words: (value) => words[places.indexOf(value)] ?? '',
    x_splits: places,
    y_name: facts.label(measure),
    y_words: (value) => facts.print(measure, value),
    lines: all,
    say: (index) =>
      index !== null &&
      (readout.textContent =
        `${axis} ${words[index]}: ` +
        all
          .map(
            (line) =>
              `${line.name || facts.label(measure)} ${facts.print(measure, line.values[index] ?? undefined) || 'none'}`,
          )
          .join('; ')),
  });
  const names = others.length > 0 ? legend(all.map((line, i) => [line.name, hue_of(i)])) : null;
  const note =
    lines.size > most_curves
      ? h('p', { class: 'note' }, `The first ${most_curves} of ${grouped(lines.size)} curves.`)
      : null;
  return [names, h('figure', {}, box, h('figcaption', {}, readout)), note].filter(
    (node) => node !== null,
  ) as Node[];
}

export function sweep_page(data: PageData, facts: Facts): Summary {
  const sweep = sweep_of(data.table!, facts);
  const longest = [...sweep.keys].sort((a, b) => distinct(sweep, b) - distinct(sweep, a))[0];
  const select = (label: string, names: string[], chosen: string) =>
    h(
      'select',
      { 'aria-label': label, change: () => show() },
      names.map((name) =>
        h('option', { value: name, selected: name === chosen }, facts.find(name) ? facts.label(name) : name),
      ),
    );
  const axis = select('Axis', sweep.keys, longest);
  const measure = select('Measure', sweep.measures, 'step_time_s');
  const place = h('div');
  const show = () => fill(place, chart_of(sweep, facts, axis.value, measure.value));
  if (sweep.measures.length > 0) show();
  const failed_at = sweep.columns.indexOf('error');
  const has_error = sweep.rows.some((row) => row[failed_at] !== '');
  const main = sweep.columns.filter(
    (name) => sweep.keys.includes(name) || main_figures.includes(name) || (name === 'error' && has_error),
  );
  const rest = sweep.columns.filter((name) => sweep.keys.includes(name) || !main.includes(name));
  const failed = sweep.rows.filter((row) => row[failed_at] !== '').length;
  return {
    sentences: [
      ...best_of(sweep, facts),
      `${grouped(sweep.rows.length)} points over ${sweep.keys.join(' and ')}.`,
      ...(failed > 0 ? [`${grouped(failed)} of them failed.`] : []),
    ],
    sections: [
      section(
        'curves',
        'Curves',
        null,
        sweep.measures.length > 0 && h('p', { class: 'controls' }, measure, ' over ', axis),
        place,
      ),
      section(
        'points',
        'Points',
        null,
        point_table('Points', sweep, main, facts),
        h(
          'details',
          {},
          h('summary', {}, 'All other figures'),
          point_table('All other figures', sweep, rest, facts),
        ),
      ),
    ],
  };
}

function point_table(caption: string, sweep: Sweep, names: string[], facts: Facts): HTMLElement {
  const places = names.map((name) => sweep.columns.indexOf(name));
  const failed_at = sweep.columns.indexOf('error');
  const columns = names.map((name) => ({
    heading: sweep.keys.includes(name) ? name : facts.heading(name),
    is_text: !sweep.measures.includes(name) && name !== 'fits',
  }));
  return table(
    caption,
    columns,
    sweep.rows.map((row) => ({
      mark: row[failed_at] !== '' ? ('bad' as const) : undefined,
      cells: places.map((place, i) => {
        const cell = row[place];
        const value = number_of(cell);
        if (cell === 'true' || cell === 'false') return { shown: facts.print(names[i], cell === 'true') };
        const is_fact = facts.find(names[i]) !== undefined && Number.isFinite(value);
        return {
          shown: is_fact ? facts.print(names[i], value) : cell,
          sorted: Number.isFinite(value) ? value : cell,
        };
      }),
    })),
    true,
  );
}

const distinct = (sweep: Sweep, key: string) =>
  new Set(sweep.rows.map((row) => row[sweep.keys.indexOf(key)])).size;

function best_of(sweep: Sweep, facts: Facts): string[] {
  const name = ['tokens_per_s_per_device', 'step_time_s'].find((one) => sweep.measures.includes(one));
  if (!name) return [];
  const at = sweep.columns.indexOf(name);
  const sign = facts.find(name)!.better === 2 ? -1 : 1;
  const known = sweep.rows.filter((row) => Number.isFinite(number_of(row[at])));
  const best = known.sort((a, b) => sign * (number_of(a[at]) - number_of(b[at])))[0];
  if (!best) return [];
  const where = sweep.keys.map((key, i) => `${key} ${best[i]}`).join(', ');
  return [
    `${sign > 0 ? 'Least' : 'Most'} ${facts.label(name)}: ${facts.print(name, number_of(best[at]))} at ${where}.`,
  ];
}
