// Why a step takes so long, and what each single change of its scenario would bring.
import type { PageData, Row } from '../data';
import type { Facts } from '../facts';
import { bytes, percent, time } from '../format';
import { section, type Section } from '../section';
import { table, type TableRow } from '../tables';
import type { Summary } from './compare';

const kinds = [
  ['setting', 'What would help', 'The same training otherwise, one change at a time.'],
  ['numerics', 'With other numbers in training', 'Formats and routings: look at the loss before you take one.'],
  ['what_if', 'With other hardware, or if it were so', null],
] as const;
const worth_a_row = 0.0005;

export function explain_page(data: PageData, facts: Facts): Summary {
  const report = data.report!;
  const changes = report.changes as Row[];
  const sentences = [
    `A step takes ${facts.print('step_time_s', report.step_time_s)}.`,
    ...(report.verdict as string[]),
  ];
  const sections: Section[] = kinds.map(([kind, title, note]) =>
    section(kind, title, note, changes_table(title, gains(changes, kind), facts)),
  );
  const pairs = report.pairs as Row[];
  if (pairs.length > 0) {
    const together = pairs.map((pair) => ({
      ...pair,
      change: (pair.changes as number[]).map((i) => changes[i].change).join(' '),
    }));
    sections.push(section('pairs', 'Two together', null, changes_table('Two together', together, facts)));
  }
  const rest = changes.filter((one) => one.error !== undefined || Number(one.gain) <= worth_a_row);
  sections.push(section('rest', 'What does not help', 'Slower, the same, or refused.', rest_table(rest)));
  return { sentences, sections };
}

const gains = (changes: Row[], kind: string) =>
  changes.filter((one) => one.kind === kind && one.error === undefined && Number(one.gain) > worth_a_row);

const change_of = (one: Row) => (one.says === undefined ? String(one.change) : `${one.says} (${one.change})`);
const signed = (value: number, shown: string) => (value > 0 ? `+${shown}` : shown);

function changes_table(caption: string, changes: Row[], facts: Facts): HTMLElement | string {
  if (changes.length === 0) return 'Nothing that was tried.';
  const rows: TableRow[] = changes.map((one) => {
    const gain = Number(one.gain);
    const memory = Number(one.memory_change);
    return {
      mark: one.fits === false ? 'bad' : undefined,
      cells: [
        change_of(one),
        { shown: time(Number(one.step_time_s)), sorted: Number(one.step_time_s) },
        { shown: signed(gain, percent(gain)), sorted: gain },
        { shown: memory === 0 ? 'as before' : signed(memory, bytes(memory)), sorted: memory },
        facts.print('fits', one.fits),
        String(one.costs ?? ''),
      ],
    };
  });
  return table(
    caption,
    [
      { heading: 'change', is_text: true },
      { heading: 'step time' },
      { heading: 'gain' },
      { heading: 'memory' },
      { heading: 'fits' },
      { heading: 'costs', is_text: true },
    ],
    rows,
    true,
  );
}

function rest_table(changes: Row[]): HTMLElement {
  return table(
    'What does not help',
    [{ heading: 'change', is_text: true }, { heading: 'gain' }, { heading: 'why not', is_text: true }],
    changes.map((one) => ({
      cells: [
        change_of(one),
        one.error === undefined ? { shown: percent(Number(one.gain)), sorted: Number(one.gain) } : '',
        String(one.error ?? ''),
      ],
    })),
    true,
  );
}
