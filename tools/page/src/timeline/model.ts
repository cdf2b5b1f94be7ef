// The timeline unpacked: arrays by slice, and lanes that know theirs.
import { bytes_of, type TimelineData, Unpacker, unfolded } from '../data';
import { categories, category_of } from '../theme';

export interface Lane {
  actor: number;
  stream: number;
  lane: number;
  slices: Int32Array; // by start; none overlap
  critical: Int32Array; // those on the critical path
  longest: number; // ticks of the longest
}

export interface Model {
  data: TimelineData;
  count: number;
  end: number; // ticks
  start: Uint32Array;
  stop: Uint32Array;
  kind: Uint16Array;
  microbatch: Int32Array;
  layer: Int16Array;
  cause: Int32Array; // -1: none
  critical: Uint8Array;
  lane: Uint32Array; // into lanes
  place: Int32Array; // in its lane
  category: Uint8Array; // by kind, into categories
  lanes: Lane[]; // by actor, stream and number
  critical_count: number;
  sends: Int32Array; // slices that waited for one of another rank
}

export function unpack_timeline(data: TimelineData): Model {
  const { count } = data;
  const model: Model = {
    data,
    count,
    end: data.end,
    start: new Uint32Array(count),
    stop: new Uint32Array(count),
    kind: new Uint16Array(count),
    microbatch: new Int32Array(count),
    layer: new Int16Array(count),
    cause: new Int32Array(count),
    critical: new Uint8Array(count),
    lane: new Uint32Array(count),
    place: new Int32Array(count),
    category: Uint8Array.from(data.kinds, ([activity, pass, , stream]) =>
      categories.indexOf(category_of(activity, pass, stream)),
    ),
    lanes: [],
    critical_count: 0,
    sends: new Int32Array(0),
  };
  fill_lanes(model, read_slices(model));
  const sends: number[] = [];
  for (let i = 0; i < count; ++i) {
    model.critical_count += model.critical[i];
    const cause = model.cause[i];
    if (cause >= 0 && rank_of(model, cause) !== rank_of(model, i)) sends.push(i);
  }
  model.sends = Int32Array.from(sends).sort((a, b) => model.stop[a] - model.stop[b]);
  return model;
}

/** Fills the arrays; returns the actor of each slice. The first of an actor begins before the one before. */
function read_slices(model: Model): Uint32Array {
  const { data, count } = model;
  const unpacker = new Unpacker(bytes_of(data.slices));
  const actors = new Uint32Array(count);
  const counts = data.actors_slices;
  const ends = new Map<number, number>();
  let actor = -1;
  let left = 0;
  let microbatch = 0;
  let layer = 0;
  for (let i = 0; i < count; ++i) {
    while (left === 0) {
      left = counts[++actor];
      ends.clear();
    }
    --left;
    actors[i] = actor;
    const gap = unpacker.next();
    const length = unpacker.next();
    const code = unpacker.next();
    const kind = (model.kind[i] = code >> 1);
    model.critical[i] = code & 1;
    const key = lane_key(model, kind);
    model.start[i] = (ends.get(key) ?? 0) + gap;
    model.stop[i] = model.start[i] + length;
    ends.set(key, model.stop[i]);
    model.microbatch[i] = microbatch += unpacker.next_signed();
    model.layer[i] = layer += unpacker.next_signed();
    const cause = unpacker.next();
    model.cause[i] = cause === 0 ? -1 : i - unfolded(cause - 1);
  }
  return actors;
}

function lane_key(model: Model, kind: number): number {
  const [, , , stream, lane] = model.data.kinds[kind];
  return lane * 16 + stream;
}

function fill_lanes(model: Model, actors: Uint32Array): void {
  const members = new Map<string, number[]>();
  for (let i = 0; i < model.count; ++i) {
    const key = `${actors[i]} ${lane_key(model, model.kind[i])}`;
    const list = members.get(key);
    if (list) list.push(i);
    else members.set(key, [i]);
  }
  for (const list of members.values()) {
    const [, , , stream, lane] = model.data.kinds[model.kind[list[0]]];
    model.lanes.push({
      actor: actors[list[0]],
      stream,
      lane,
      slices: Int32Array.from(list),
      critical: Int32Array.from(list.filter((slice) => model.critical[slice])),
      longest: list.reduce((most, slice) => Math.max(most, model.stop[slice] - model.start[slice]), 0),
    });
  }
  model.lanes.sort((a, b) => a.actor - b.actor || a.stream - b.stream || a.lane - b.lane);
  model.lanes.forEach((lane, number) => {
    lane.slices.forEach((slice, place) => {
      model.lane[slice] = number;
      model.place[slice] = place;
    });
  });
}

export const actor_of = (model: Model, slice: number) => model.lanes[model.lane[slice]].actor;
export const rank_of = (model: Model, slice: number) => model.data.actors[actor_of(model, slice)].rank;

/** The first of slices in their order that ends after a tick. */
export function first_of(model: Model, slices: Int32Array, tick: number): number {
  let low = 0;
  let high = slices.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.stop[slices[middle]] > tick) high = middle;
    else low = middle + 1;
  }
  return low;
}

export const first_after = (model: Model, lane: Lane, tick: number) => first_of(model, lane.slices, tick);

/** The slice of a lane at a tick, or the nearest one that is not further than `slack` ticks. */
export function slice_at(model: Model, lane: Lane, tick: number, slack: number): number | undefined {
  const place = first_after(model, lane, tick - slack);
  let best: number | undefined;
  let distance = Infinity;
  for (let i = place; i < lane.slices.length && model.start[lane.slices[i]] <= tick + slack; ++i) {
    const slice = lane.slices[i];
    const away = Math.max(0, model.start[slice] - tick, tick - model.stop[slice]);
    if (away < distance) [best, distance] = [slice, away];
    if (away > distance) break;
  }
  return best;
}
