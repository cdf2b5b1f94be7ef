// Published figures beside simulated ones.
import type { PageData, Row } from '../data';
import { h } from '../dom';
import { digits, percent } from '../format';
import { section } from '../section';
import { table, type TableRow } from '../tables';
import type { Summary } from './compare';

const reach = 0.3; // of the track, to either side; what is beyond stands at its end

/** The error as a dot about a middle line, over the tolerance as a band. */
function track(one: Row): HTMLElement | null {
  if (one.error === undefined) return null;
  const place = (share: number) => `${(50 + 50 * Math.max(-1, Math.min(1, share / reach))).toFixed(2)}%`;
  const tolerance = Math.min(1, Number(one.tolerance) / reach);
  return h(
    'div',
    { class: 'track', 'aria-hidden': 'true' },
    h('i', { class: 'band', style: `left:${50 - 50 * tolerance}%;width:${100 * tolerance}%` }),
    h('i', { class: one.within ? 'dot' : 'dot out', style: `left:${place(Number(one.error))}` }),
  );
}

const signed = (share: number) => `${share > 0 ? '+' : ''}${percent(share)}`;

function case_row(one: Row): TableRow {
  const unit = one.unit === undefined ? '' : ` ${one.unit}`;
  const error =
    one.error === undefined ? '' : one.absolute ? digits(Number(one.error), 3) : signed(Number(one.error));
  return {
    mark: one.within ? undefined : 'bad',
    cells: [
      String(one.name),
      String(one.figure),
      { shown: track(one) },
      { shown: error, sorted: Number(one.error ?? NaN) },
      one.absolute ? digits(Number(one.tolerance), 3) : percent(Number(one.tolerance)),
      digits(Number(one.published)) + unit,
      one.simulated === undefined ? '' : digits(Number(one.simulated)) + unit,
      { shown: [String(one.failure ?? one.known ?? ''), h('span', { class: 'source' }, ` ${one.source}`)] },
    ],
  };
}

export function validate_page(data: PageData): Summary {
  const report = data.report!;
  const cases = report.cases as Row[];
  const groups = report.groups as Row[];
  const within = cases.filter((one) => one.within).length;
  const coverage = (report.coverage ?? []) as Row[];
  const summary = table(
    'Groups',
    [
      { heading: 'group', is_text: true },
      { heading: 'cases' },
      { heading: 'within' },
      { heading: 'median error' },
      { heading: '90th' },
      { heading: 'worst' },
      { heading: 'mean, signed' },
      { heading: "Kendall's tau" },
    ],
    groups.map((group) => ({
      cells: [
        h_link(String(group.name)),
        String(group.cases),
        String(group.within),
        ...['median', 'ninetieth', 'worst'].map((key) =>
          group[key] === undefined ? '' : percent(Number(group[key])),
        ),
        group.mean === undefined ? '' : signed(Number(group.mean)),
        group.rank_agreement === undefined ? '' : Number(group.rank_agreement).toFixed(2),
      ],
    })),
    true,
  );
  return {
    sentences: [
      `${within} of ${cases.length} published figures are within their tolerance.`,
      ...coverage
        .slice(0, 1)
        .map(
          (row) =>
            `Error bars of ${percent(Number(row.level), 0)} hold ${row.inside} of ${row.all} of ${row.of}.`,
        ),
    ],
    sections: [
      section(
        'groups',
        'Groups',
        null,
        summary,
        coverage.length > 0 &&
          table(
            'Coverage',
            [
              { heading: 'error bars of', is_text: true },
              { heading: 'level' },
              { heading: 'inside' },
              { heading: 'all' },
            ],
            coverage.map((row) => ({
              cells: [String(row.of), percent(Number(row.level), 0), String(row.inside), String(row.all)],
            })),
          ),
      ),
      ...groups.map((group) =>
        section(
          id_of(String(group.name)),
          String(group.name),
          null,
          table(
            String(group.name),
            [
              { heading: 'case', is_text: true },
              { heading: 'figure', is_text: true },
              { heading: '', is_bar: true },
              { heading: 'error' },
              { heading: 'tolerance' },
              { heading: 'published' },
              { heading: 'simulated' },
              { heading: 'source', is_text: true },
            ],
            cases.filter((one) => one.group === group.name).map(case_row),
            true,
          ),
        ),
      ),
    ],
  };
}

const id_of = (name: string) => `group-${name.replace(/[^a-z0-9]+/gi, '-')}`;
const h_link = (name: string) => ({ shown: h('a', { href: `#${id_of(name)}` }, name), sorted: name });
