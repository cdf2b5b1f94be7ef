import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, digits, fixed, grouped, percent, print_number, time } from '../src/format';

test('numbers are printed as the text report prints them', () => {
  // Of tests/golden/*.txt.
  assert.equal(time(18.258433), '18.26 s');
  assert.equal(time(1.75), '1.75 s');
  assert.equal(time(0.000003334), '3.334 us');
  assert.equal(time(0.0005 + 0.0000461), '546.1 us');
  assert.equal(time(0), '0 s');
  assert.equal(time(299.9), '299.9 s');
  assert.equal(time(300), '5 min');
  assert.equal(time(7200), '2 h');
  assert.equal(time(3 * 86400), '3 d');
  assert.equal(time(1e-12), '1 ps');
  assert.equal(bytes(9.868e9), '9.868 GB');
  assert.equal(bytes(275e12), '275 TB');
  assert.equal(bytes(0), '0 B');
  assert.equal(bytes(12345e15), '12345 PB');
  assert.equal(grouped(57093120), '57,093,120');
  assert.equal(grouped(999), '999');
  assert.equal(percent(0.0792, 2), '7.92 %');
});

test('what lies half-way goes to the even digit', () => {
  assert.deepEqual(
    [0.5, 1.5, 2.5, -1.5].map((number) => fixed(number, 0)),
    ['0', '2', '2', '-2'],
  );
  assert.deepEqual(
    [12.25, 12.75, 0.125].map((number) => fixed(number, 1)),
    ['12.2', '12.8', '0.1'],
  );
  assert.equal(fixed(1.005, 2), '1.00'); // the nearest double is below
});

test('digits are those of %.4g', () => {
  assert.equal(digits(999.94), '999.9');
  assert.equal(digits(1234.5), '1234'); // half-way, to the even one
  assert.equal(digits(1235.5), '1236');
  assert.equal(digits(999.96), '1000');
  assert.equal(digits(12346), '1.235e+04');
  assert.equal(digits(0.00001), '1e-05');
  assert.equal(digits(0.00012346), '0.0001235');
  assert.equal(digits(-1.5), '-1.5');
  assert.equal(digits(100), '100');
});

test('every unit of a fact has its form', () => {
  assert.equal(print_number(438.5, 'TFLOPS', 2), '438.5 TFLOPS');
  assert.equal(print_number(260.6e9, 'FLOP', 2), '260.6 GFLOP');
  assert.equal(print_number(0.443, 'share', 1), '44.3 %');
  assert.equal(print_number(1.112, 'ratio', 3), '1.112');
  assert.equal(print_number(18943, 'h', 2), '18,943 h');
  assert.equal(print_number(3.217, 'kWh', 2), '3.217 kWh');
  assert.equal(print_number(0.25, 'J', 2), '250 mJ');
  assert.equal(print_number(660, 'W', 2), '660 W');
  assert.equal(print_number(1682.6, 'tokens/s', 2), '1,683');
});
