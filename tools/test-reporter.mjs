/** Reporter for node:test that writes one JSON line for each test that ended; tools/test-file.ts reads them. */

/** @param {AsyncIterable<{type: string, data: any}>} source */
export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    // Of a skipped suite nothing inside is run, nor told of.
    if (data.details.type === 'suite' && data.skip === undefined) continue;
    // A test that failed only because one within it did is that one's failure.
    if (data.details.error?.failureType === 'subtestsFailed') continue;
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const reason = data.skip ?? data.todo;
    yield `${JSON.stringify({
      name: data.name,
      outcome: skipped ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed',
      reason: typeof reason === 'string' ? reason : '',
    })}\n`;
  }
}
