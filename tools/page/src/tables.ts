// Tables: numbers at the right, in figures of one width; columns that can be sorted.
import { type Child, fill, h } from './dom';

export interface Column {
  heading: string;
  is_text?: boolean;
  is_bar?: boolean;
}

export interface Cell {
  shown: Child;
  sorted?: number | string; // by what it is sorted; its text if absent
}

export interface TableRow {
  cells: (Cell | string)[];
  mark?: 'best' | 'bad';
}

const cell_of = (cell: Cell | string): Cell => (typeof cell === 'string' ? { shown: cell } : cell);

export function table(caption: string, columns: Column[], rows: TableRow[], can_sort = false): HTMLElement {
  const body = h('tbody');
  let by = -1;
  let direction = 1;
  const show = () => {
    const order = [...rows];
    if (by >= 0) order.sort((a, b) => direction * compared(cell_of(a.cells[by]), cell_of(b.cells[by])));
    fill(
      body,
      order.map((row) => row_of(columns, row)),
    );
  };
  const headings = columns.map((column, i) =>
    heading_of(column, can_sort && !column.is_bar, (header) => {
      direction = by === i ? -direction : 1;
      by = i;
      for (const other of headings) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
      show();
    }),
  );
  show();
  return h(
    'div',
    { class: 'table', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, h('tr', {}, headings)), body),
  );
}

function compared(a: Cell, b: Cell): number {
  const [x, y] = [a, b].map((cell) => cell.sorted ?? String(cell.shown ?? ''));
  if (typeof x === 'number' && typeof y === 'number')
    return (Number.isNaN(x) ? Infinity : x) - (Number.isNaN(y) ? Infinity : y) || 0;
  return String(x).localeCompare(String(y), 'en', { numeric: true });
}

function heading_of(column: Column, can_sort: boolean, sort: (header: HTMLElement) => void): HTMLElement {
  const name = column.is_text || column.is_bar ? 'text' : 'number';
  if (!can_sort) return h('th', { scope: 'col', class: name }, column.heading);
  const header: HTMLElement = h(
    'th',
    { scope: 'col', class: name },
    h('button', { type: 'button', click: () => sort(header) }, column.heading),
  );
  return header;
}

function row_of(columns: Column[], row: TableRow): HTMLElement {
  return h(
    'tr',
    { class: row.mark },
    row.cells.map((cell, i) => {
      const { shown } = cell_of(cell);
      const name = columns[i].is_bar ? 'bars' : columns[i].is_text ? 'text' : 'number';
      return i === 0 ? h('th', { scope: 'row', class: name }, shown) : h('td', { class: name }, shown);
    }),
  );
}
