import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TimelineData } from '../src/data';
import { first_after, rank_of, slice_at, unpack_timeline } from '../src/timeline/model';
import { layout_of, band_at } from '../src/timeline/layout';
import { details_of, matches, name_of, wait_of } from '../src/timeline/words';

function packed(numbers: number[]): string {
  const bytes: number[] = [];
  for (let number of numbers) {
    for (; number >= 128; number = Math.floor(number / 128)) bytes.push(number % 128 | 128);
    bytes.push(number);
  }
  return btoa(String.fromCharCode(...bytes));
}

const folded = (number: number) => (number < 0 ? -2 * number - 1 : 2 * number);

/** Two ranks: F0 attention on the first, sent to the second, which then has its F0 and F12. */
function example(): TimelineData {
  return {
    tick_s: 1e-6,
    end: 400,
    streams: ['compute', 'exchange', 'pipeline receive', 'gradients', 'host', "host's memory"],
    actors: [
      { name: 'pipeline rank 0 (4 devices)', rank: 0 },
      { name: 'pipeline rank 1 (4 devices)', rank: 1 },
    ],
    kinds: [
      ['attention', 'forward', 0, 0, 0, false],
      ['pipeline', 'forward', 0, 2, 0, false],
    ],
    actors_slices: [1, 3],
    count: 4,
    all: 4,
    slices: packed([
      0,
      100,
      1,
      folded(0),
      folded(3),
      0,
      100,
      50,
      3,
      folded(0),
      folded(-4),
      1 + folded(1), // waits for the slice before it, on the other rank
      150,
      200,
      1,
      folded(0),
      folded(4),
      1 + folded(1),
      0,
      50,
      0,
      folded(12),
      folded(0),
      1 + folded(1),
    ]),
  };
}

test('slices come back with lanes, causes and the critical path', () => {
  const model = unpack_timeline(example());
  assert.deepEqual([...model.start], [0, 100, 150, 350]);
  assert.deepEqual([...model.stop], [100, 150, 350, 400]);
  assert.deepEqual([...model.cause], [-1, 0, 1, 2]);
  assert.deepEqual([...model.critical], [1, 1, 1, 0]);
  assert.equal(model.critical_count, 3);
  assert.deepEqual(
    model.lanes.map((lane) => [lane.actor, lane.stream, [...lane.slices]]),
    [
      [0, 0, [0]],
      [1, 0, [2, 3]],
      [1, 2, [1]],
    ],
  );
  assert.deepEqual([...model.sends], [1]);
  assert.equal(rank_of(model, 3), 1);
});

test('slices are found by time, also near them', () => {
  const model = unpack_timeline(example());
  const lane = model.lanes[1];
  assert.equal(first_after(model, lane, 349), 0);
  assert.equal(first_after(model, lane, 350), 1);
  assert.equal(slice_at(model, lane, 200, 0), 2);
  assert.equal(slice_at(model, lane, 140, 0), undefined);
  assert.equal(slice_at(model, lane, 140, 20), 2);
});

test('a slice says what it is, when, how long, and for whom it waited', () => {
  const model = unpack_timeline(example());
  assert.equal(name_of(model, 0), 'F0 attention');
  assert.equal(name_of(model, 1), 'F0 pipeline');
  assert.equal(
    wait_of(model, 1),
    'for F0 attention on pipeline rank 0 (4 devices), the lane idle for 100 us',
  );
  assert.equal(wait_of(model, 3), 'for F0 attention');
  const details = Object.fromEntries(details_of(model, 2));
  assert.equal(details.when, '150 us to 350 us');
  assert.equal(details.takes, '200 us');
  assert.equal(details['is of'], 'forward, microbatch 0, layer 3, chunk 0');
});

test('a search means whole numbers, and all of its words', () => {
  const model = unpack_timeline(example());
  const found = (text: string) => [...(matches(model, text) ?? [])];
  assert.deepEqual(found('f12'), [0, 0, 0, 1]);
  assert.deepEqual(found('f1'), [0, 0, 0, 0]);
  assert.deepEqual(found('attention'), [1, 0, 1, 1]);
  assert.deepEqual(found('rank 1 attention'), [0, 0, 1, 1]);
  assert.deepEqual(found('layer 3'), [1, 0, 1, 1]);
  assert.deepEqual(found('critical rank 0'), [1, 0, 0, 0]);
  assert.equal(matches(model, '  '), undefined);
});

test('lanes are apart, and found by their height', () => {
  const model = unpack_timeline(example());
  const layout = layout_of(model);
  for (let i = 1; i < layout.bands.length; ++i)
    assert.ok(layout.bands[i].top >= layout.bands[i - 1].top + layout.bands[i - 1].height);
  assert.equal(layout.groups.length, 2);
  layout.bands.forEach((band) => assert.equal(band_at(layout, band.top + 1), band));
  assert.equal(band_at(layout, layout.height + 100), undefined);
});
