import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at_path, unfolded, unpack, unpack_sums } from '../src/data';

test('packed numbers come back', () => {
  assert.deepEqual(unpack('5Y4m'), [624485]);
  assert.deepEqual(unpack(''), []);
  assert.deepEqual(unpack('Zm9v'), [0x66, 0x6f, 0x6f]);
  assert.deepEqual([0, 1, 2, 3, 4].map(unfolded), [0, -1, 1, -2, 2]);
  assert.deepEqual(unpack_sums(btoa('\x04\x01\x06')), [2, 1, 4]);
});

test('numbers that end early are an error', () => {
  assert.throws(() => unpack(btoa('\x80')), /end early/);
});

test('a dotted path leads to a value or to nothing', () => {
  assert.equal(at_path({ a: { b: 1 } }, 'a.b'), 1);
  assert.equal(at_path({ a: 1 }, 'a.b'), undefined);
  assert.equal(at_path({ a: [1] }, 'a.0'), undefined);
});
