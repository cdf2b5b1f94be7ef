// What dominates the expected error, and every number of the report with its label.
import { at_path, type Json, type Row } from '../data';
import { bar } from '../charts';
import { h } from '../dom';
import type { Facts } from '../facts';
import { percent } from '../format';
import { section, type Section } from '../section';
import { table } from '../tables';

export function error_section(report: Row, facts: Facts): Section | undefined {
  const sources = at_path(report, 'expected_error.sources') as Row[] | undefined;
  if (!sources) return undefined;
  const most = Math.max(...sources.map((row) => Number(row.deviation)));
  const level = percent(Number(at_path(report, 'expected_error.level')), 0);
  const rows = sources.map((row) => ({
    cells: [
      String(row.of),
      { shown: bar([{ name: String(row.of), share: Number(row.deviation) / most, colour: 'forward' }]) },
      percent(Number(row.deviation)),
    ],
  }));
  return section(
    'error',
    'Expected error',
    `${level} of measured steps are expected between ${facts.of(report, 'expected_error.low_s')} and ` +
      `${facts.of(report, 'expected_error.high_s')}. What each source adds, as a deviation of the step time.`,
    table(
      'Sources of error',
      [{ heading: 'of', is_text: true }, { heading: '', is_bar: true }, { heading: 'deviation' }],
      rows,
    ),
  );
}

const is_plain = (value: Json | undefined) =>
  value !== undefined && value !== null && typeof value !== 'object';

export function figure_section(report: Row, facts: Facts): Section {
  const rows = facts
    .all()
    .filter((fact) => is_plain(at_path(report, fact.path)))
    .map((fact) => ({ cells: [fact.label, facts.of(report, fact.path), fact.path] }));
  return section(
    'figures',
    'All figures',
    null,
    h(
      'details',
      {},
      h('summary', {}, `${rows.length} numbers of the report, by their keys in JSON`),
      table(
        'All figures',
        [{ heading: 'what', is_text: true }, { heading: 'value' }, { heading: 'key', is_text: true }],
        rows,
        true,
      ),
    ),
  );
}
