import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Io } from '../../env/io.ts';
import { HeadNews } from './head-news.ts';

const io = { yieldTurn: () => undefined } as unknown as Io;
const ended = (attachId: string) =>
  ({ volume: `of ${attachId}`, attachId, end: 'overtaken' }) as const;
const idsOf = async (news: ReturnType<HeadNews['next']>): Promise<string[]> =>
  (await news).ended.map(({ attachId }) => attachId);

test('a head that ended is told to the control that comes after one that died with the news', async () => {
  const news = new HeadNews(io);
  const ofDead = news.next(true);
  news.onEnd(ended('x'));
  assert.deepEqual(await idsOf(ofDead), ['x']);
  assert.deepEqual(await idsOf(news.next(true)), ['x']);
});

test('a head that ended is told once to a control that lives, and to none once it was seen to', async () => {
  const news = new HeadNews(io);
  news.onEnd(ended('x'));
  news.onEnd(ended('y'));
  assert.deepEqual(await idsOf(news.next(false)), ['x', 'y']);
  const next = news.next(false);
  news.forgetEnd('of x');
  news.onEnd(ended('z'));
  assert.deepEqual(await idsOf(next), ['z']);
  assert.deepEqual(await idsOf(news.next(true)), ['y', 'z']);
});
