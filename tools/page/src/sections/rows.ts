// Documents of other kinds, as that of `explain`: each list of rows is a table, each row's numbers as its keys
// say that they are.
import type { Json, PageData, Row } from '../data';
import type { Facts } from '../facts';
import { section, type Section } from '../section';
import { type Cell, table, type TableRow } from '../tables';
import { spaced } from '../timeline/words';
import type { Summary } from './compare';

const is_row = (value: Json): value is Row =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
const is_rows = (value: Json): value is Row[] =>
  Array.isArray(value) && value.length > 0 && value.every(is_row);

/** A cell of a key: by its fact, or by what its name ends with. */
function cell_of(key: string, value: Json | undefined, facts: Facts): Cell {
  if (value === undefined || value === null) return { shown: '', sorted: NaN };
  if (is_row(value))
    return {
      shown: Object.entries(value)
        .map(([name, of]) => `${name} ${String(of)}`)
        .join(', '),
    };
  return { shown: facts.print(key, value), sorted: typeof value === 'number' ? value : undefined };
}

export function rows_section(id: string, title: string, rows: Row[], facts: Facts): Section {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const columns = keys.map((key) => ({
    heading: facts.find(key) ? facts.heading(key) : spaced(key),
    is_text: rows.some((row) => typeof row[key] === 'string'),
  }));
  return section(
    id,
    title,
    null,
    table(
      title,
      columns,
      rows.map(
        (row): TableRow => ({
          mark:
            row.best === true ? 'best' : row.error !== undefined || row.fits === false ? 'bad' : undefined,
          cells: keys.map((key) => cell_of(key, row[key], facts)),
        }),
      ),
      true,
    ),
  );
}

export function rows_page(data: PageData, facts: Facts): Summary {
  const lists = Object.entries(data.report ?? {}).filter(([, value]) => is_rows(value));
  return {
    sentences: [],
    sections: lists.map(([name, rows]) => rows_section(name, spaced(name), rows as Row[], facts)),
  };
}
