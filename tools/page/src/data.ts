// What the program puts into the page, and how numbers are unpacked (sim/write/packed.hpp).

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Row = { [key: string]: Json };

export interface TimelineData {
  tick_s: number;
  end: number;
  actors: { name: string; rank: number }[];
  streams: string[];
  kinds: [activity: string, pass: string, chunk: number, stream: number, lane: number, overlapped: boolean][];
  actors_slices: number[];
  count: number;
  all: number;
  left_out?: string;
  slices: string;
}

export interface PipelineData {
  ranks: number;
  cells: string;
  left_out?: string;
}

export interface RankTimes {
  compute_s: number;
  exposed_s: { [phase: string]: number };
  optimizer_s: number;
  host_s: number;
  bubble_s: number;
}

export interface RunData {
  timeline: TimelineData;
  pipeline?: PipelineData;
  ranks?: RankTimes[];
  memory?: { spans: number; ranks: { low: string; high: string }[] };
  links?: { spans: number; rows: { class: string; name: string; use: string }[] };
  experts?: { layer: number; tokens: string }[];
}

export interface Table {
  columns: string[];
  rows: string[][];
}

export interface PageData {
  schema: string;
  command: string;
  text?: string;
  report?: Row;
  table?: Table;
  scenario?: Json;
  facts: [
    path: string,
    name: string,
    label: string,
    heading: string,
    unit: string,
    digits: number,
    better: number,
  ][];
  run?: RunData;
}

/** The bytes of Base64. */
export function bytes_of(text: string): Uint8Array {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; ++i) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** Reads packed numbers one after the other. */
export class Unpacker {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  has_more(): boolean {
    return this.at < this.bytes.length;
  }

  next(): number {
    let number = 0;
    let weight = 1;
    for (;;) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new Error('packed numbers end early');
      number += (byte & 0x7f) * weight;
      if (byte < 0x80) return number;
      weight *= 128;
    }
  }

  next_signed(): number {
    return unfolded(this.next());
  }
}

/** 0, 1, 2, 3 are 0, -1, 1, -2. */
export function unfolded(number: number): number {
  return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
}

export function unpack(text: string): number[] {
  const unpacker = new Unpacker(bytes_of(text));
  const numbers: number[] = [];
  while (unpacker.has_more()) numbers.push(unpacker.next());
  return numbers;
}

/** Sums of packed signed differences. */
export function unpack_sums(text: string): number[] {
  const unpacker = new Unpacker(bytes_of(text));
  const numbers: number[] = [];
  let sum = 0;
  while (unpacker.has_more()) numbers.push((sum += unpacker.next_signed()));
  return numbers;
}

/** What stands at a dotted path. */
export function at_path(row: Json | undefined, path: string): Json | undefined {
  let value: Json | undefined = row;
  for (const step of path.split('.')) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
    value = value[step];
  }
  return value;
}
