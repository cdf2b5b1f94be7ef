// Labels and units of the numbers of a report: the program's own table, which comes with the data.
import { at_path, type Json, type PageData, type Row } from './data';
import { digits, grouped, print_number } from './format';

export interface Fact {
  path: string;
  name: string;
  label: string;
  heading: string;
  unit: string;
  digits: number;
  better: number; // 0 neither, 1 lower, 2 higher
}

export class Facts {
  private readonly by_name = new Map<string, Fact>();

  constructor(rows: PageData['facts']) {
    for (const [path, name, label, heading, unit, behind, better] of rows) {
      const fact = { path, name, label, heading, unit, digits: behind, better };
      this.by_name.set(path, fact);
      this.by_name.set(name, fact);
    }
  }

  all(): Fact[] {
    return [...new Set(this.by_name.values())];
  }

  find(name: string): Fact | undefined {
    return this.by_name.get(name);
  }

  label(name: string): string {
    return this.find(name)?.label ?? name.replaceAll('_', ' ');
  }

  heading(name: string): string {
    return this.find(name)?.heading ?? name.replaceAll('_', ' ');
  }

  /** The number of a fact in a report; undefined where it does not apply. */
  number(report: Row | undefined, name: string): number | undefined {
    const value = at_path(report, this.find(name)?.path ?? name);
    return typeof value === 'number' ? value : undefined;
  }

  /** The fact of a report in words; empty where it does not apply. */
  of(report: Row | undefined, name: string): string {
    return this.print(name, at_path(report, this.find(name)?.path ?? name));
  }

  print(name: string, value: Json | undefined): string {
    if (value === undefined || value === null || value === '') return '';
    const fact = this.find(name);
    if (typeof value === 'boolean') return value ? 'yes' : 'NO';
    if (typeof value === 'number') {
      if (fact) return print_number(value, fact.unit, fact.digits);
      if (name.endsWith('_s')) return print_number(value, 's', 2);
      return Number.isInteger(value) ? grouped(value) : digits(value);
    }
    return typeof value === 'string' ? value : JSON.stringify(value);
  }
}
