import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unpack_pipeline, words_of } from '../src/pipeline';
import { places_of } from '../src/sections/sweep';
import { categories, category_of } from '../src/theme';
import { axis_label, ink_on } from '../src/timeline/paint';
import { marks, TimeWindow } from '../src/window';
import { listed, unbroken } from '../src/verdict';

(globalThis as any).requestAnimationFrame = (action: () => void) => action();

test('a window of time stays inside the step and keeps what it zooms around', () => {
  const window = new TimeWindow(10, 0.01);
  window.zoom(0.5, 2);
  assert.deepEqual([window.from, window.to], [1, 6]);
  window.pan(100);
  assert.deepEqual([window.from, window.to], [5, 10]);
  window.zoom(1e-9, 7);
  assert.ok(Math.abs(window.length - 0.01) < 1e-12);
  window.reveal(1, 2);
  assert.ok(window.from <= 1 && window.to >= 2);
  window.show_all();
  assert.ok(window.is_whole());
});

test('marks of an axis are round and inside', () => {
  assert.deepEqual(marks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(marks(3, 4, 2), [3, 3.5, 4]);
  assert.deepEqual(
    [0, 0.5, 1].map((mark) => axis_label(mark, [0, 0.5, 1])),
    ['0 s', '0.5 s', '1.0 s'],
  );
  assert.equal(axis_label(0.002, [0, 0.001, 0.002]), '2 ms');
  assert.equal(axis_label(0.00015, [0, 0.00005, 0.0001, 0.00015]), '150 us');
});

test('cells of a pipeline come back, pairs with both halves', () => {
  const bytes = [2, 0, 5, 0, 0, 0, 4, 10, 4, 6, 2, 2, 0, 0];
  const [cells, none] = unpack_pipeline({ ranks: 2, cells: btoa(String.fromCharCode(...bytes)) });
  assert.deepEqual(none, []);
  assert.deepEqual(cells[0], { start: 0, stop: 5, pass: 0, microbatch: 0, chunk: 0 });
  assert.deepEqual(cells[1], {
    start: 7,
    stop: 17,
    pass: 4,
    microbatch: 3,
    chunk: 1,
    beneath: { microbatch: 1, chunk: 0 },
  });
  assert.match(
    words_of(cells[1], 4, 1),
    /^rank 4: F3 \(chunk 1\) overlapped with B1 \(chunk 0\); 7 s to 17 s, takes 10 s$/,
  );
});

test('values of an axis stand in the order of their numbers, also with a unit', () => {
  assert.deepEqual(places_of(['400 Gb/s', '50 Gb/s', '400 Gb/s']), {
    words: ['50 Gb/s', '400 Gb/s'],
    places: [50, 400].map(Math.log2),
  });
  assert.deepEqual(places_of(['2', '4']).places, [2, 4]);
  assert.deepEqual(places_of(['1f1b', 'zb_h1']).places, [0, 1]);
  assert.deepEqual(places_of(['8', '1']).words, ['1', '8']);
  assert.deepEqual(places_of(['1 GB', '1 MB']).places, [0, 1]);
});

test('each task has a colour of its own kind', () => {
  assert.equal(category_of('attention', 'forward', 0), 'forward');
  assert.equal(category_of('feed_forward', 'backward_weight', 0), 'weight');
  assert.equal(category_of('dispatch', 'forward', 1), 'exchange');
  assert.equal(category_of('tensor', 'forward', 1), 'context');
  assert.equal(category_of('gradient', 'none', 3), 'gradient');
  assert.equal(category_of('optimizer', 'none', 0), 'update');
  assert.equal(category_of('offload', 'forward', 5), 'host');
  assert.equal(new Set(categories).size, 10);
});

test('ink is read on every ground', () => {
  assert.equal(ink_on('#0072b2'), '#ffffff');
  assert.equal(ink_on('#f0b22e'), '#10131a');
});

test('words are listed', () => {
  assert.equal(listed(['a']), 'a');
  assert.equal(listed(['a', 'b', 'c']), 'a, b and c');
});

test('a number and its unit stay on one line', () => {
  assert.equal(unbroken('It takes 2 s, 17.4 % of 3 GB'), 'It takes 2\u00a0s, 17.4\u00a0% of 3\u00a0GB');
  assert.equal(unbroken('Of 4 runs 2 selected'), 'Of 4 runs 2 selected');
});
