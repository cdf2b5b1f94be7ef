// Runs side by side.
import { bar, legend, type Part } from '../charts';
import type { PageData, Row } from '../data';
import { h } from '../dom';
import type { Facts } from '../facts';
import { section, type Section } from '../section';
import { type Column, table, type TableRow } from '../tables';

/** What a page of several runs says first. */
export interface Summary {
  sentences: string[];
  sections: Section[];
}

/** What the main table has of each run, where it is known; all else stands in another below. */
const main_figures = [
  'tokens_per_s_per_device',
  'mfu',
  'bubble_mean',
  'exposed_communication_s',
  'peak_memory',
  'fits',
  'joules_per_token',
  'cost',
];
const hidden = ['values', 'plan', 'best', 'relative', 'fingerprint', 'error', 'step_time_s'];

const word = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

function run_table(caption: string, runs: Row[], keys: string[], names: string[], facts: Facts): HTMLElement {
  const slowest = Math.max(...runs.map((run) => Number(run.step_time_s ?? 0)));
  const shows_time = slowest > 0;
  const columns: Column[] = [
    ...keys.map((heading) => ({ heading, is_text: true })),
    ...(shows_time ? [{ heading: '', is_bar: true }, { heading: facts.heading('step_time_s') }] : []),
    { heading: 'relative' },
    ...names.map((name) => ({ heading: facts.heading(name), is_text: facts.find(name)?.unit === 'text' })),
  ];
  const rows = runs.map(
    (run): TableRow => ({
      mark: run.best ? 'best' : run.error !== undefined ? 'bad' : undefined,
      cells: [
        ...keys.map((key) => word((run.values as Row)[key])),
        ...(shows_time
          ? [
              { shown: bar(parts_of(run, slowest, facts)) },
              {
                shown:
                  run.error !== undefined ? String(run.error) : facts.print('step_time_s', run.step_time_s),
                sorted: Number(run.step_time_s ?? NaN),
              },
            ]
          : []),
        {
          shown: run.relative === undefined ? '' : Number(run.relative).toFixed(3),
          sorted: Number(run.relative ?? NaN),
        },
        ...names.map((name) => ({
          shown: facts.print(name, run[name]),
          sorted: typeof run[name] === 'number' ? Number(run[name]) : undefined,
        })),
      ],
    }),
  );
  return table(caption, columns, rows, true);
}

/** The step, of which exposed communication. */
function parts_of(run: Row, slowest: number, facts: Facts): Part[] {
  const exposed = Number(run.exposed_communication_s ?? 0);
  return [
    { name: 'all else', share: (Number(run.step_time_s ?? 0) - exposed) / slowest, colour: 'forward' },
    { name: facts.label('exposed_communication_s'), share: exposed / slowest, colour: 'exchange' },
  ];
}

export function compare_page(data: PageData, facts: Facts): Summary {
  const report = data.report!;
  const runs = report.runs as Row[];
  const keys = report.over as string[];
  const known = [...new Set(runs.flatMap((run) => Object.keys(run)))].filter(
    (name) => !hidden.includes(name),
  );
  const main = known.filter((name) => main_figures.includes(name));
  const rest = known.filter((name) => !main_figures.includes(name));
  const has_exposed = runs.some(
    (run) => Number(run.exposed_communication_s ?? 0) > 0 && run.step_time_s !== undefined,
  );
  return {
    sentences: sentences_of(runs, keys, facts),
    sections: [
      section(
        'runs',
        'Runs',
        'The best run is the fastest of those that fit in memory, or of all where none does.',
        has_exposed &&
          legend([
            ['exposed communication', 'exchange'],
            ['all else of a step', 'forward'],
          ]),
        run_table('Runs', runs, keys, main.length > 0 ? main : rest, facts),
        main.length > 0 &&
          rest.length > 0 &&
          h(
            'details',
            {},
            h('summary', {}, 'All other figures'),
            run_table('All other figures', runs, keys, rest, facts),
          ),
      ),
    ],
  };
}

function sentences_of(runs: Row[], keys: string[], facts: Facts): string[] {
  const best = runs.find((run) => run.best);
  const failed = runs.filter((run) => run.error !== undefined).length;
  if (!best) return ['No run finished.'];
  const values = keys.map((key) => `${key} ${word((best.values as Row)[key])}`).join(', ');
  const sentences = [
    `Best is ${values}${best.step_time_s === undefined ? '' : `: ${facts.print('step_time_s', best.step_time_s)} a step`}.`,
  ];
  const worst = Math.max(...runs.map((run) => Number(run.relative ?? 0)));
  if (worst > 1)
    sentences.push(`Of ${runs.length} runs the slowest takes ${worst.toFixed(3)} times as long.`);
  if (failed > 0) sentences.push(`${failed} of them failed.`);
  return sentences;
}
