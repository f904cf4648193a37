import test from 'ava';
import { ahead } from '../../load/mysql-rows.js';

function source(items: number, failAt = Infinity) {
  const state = { asked: 0, ended: false };
  async function* generate(): AsyncGenerator<number, void, undefined> {
    try {
      for (let item = 0; item < items; item++) {
        state.asked++;
        await Promise.resolve();
        if (item === failAt) throw new Error('no more');
        yield item;
      }
    } finally {
      state.ended = true;
    }
  }
  return { state, items: generate() };
}

test('one item is made while the one before is worked on, and no more', async (t) => {
  const { state, items } = source(5);
  const seen: number[] = [];
  for await (const item of ahead(items)) {
    t.is(state.asked, Math.min(item + 2, 5));
    await new Promise((resolve) => setImmediate(resolve));
    t.is(state.asked, Math.min(item + 2, 5));
    seen.push(item);
  }
  t.deepEqual(seen, [0, 1, 2, 3, 4]);
  t.true(state.ended);
});

test("the source's failure comes in its turn", async (t) => {
  const { items } = source(5, 2);
  const seen: number[] = [];
  await t.throwsAsync(
    async () => {
      for await (const item of ahead(items)) {
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(item);
      }
    },
    { message: 'no more' },
  );
  t.deepEqual(seen, [0, 1]);
});

test('a consumer that stops ends the source, whose next failure nobody misses', async (t) => {
  for (const failAt of [1, Infinity]) {
    const { state, items } = source(5, failAt);
    await t.throwsAsync(
      async () => {
        for await (const item of ahead(items)) throw new Error(`item ${item} is refused`);
      },
      { message: 'item 0 is refused' },
    );
    t.true(state.ended);
  }
});
