/** Which installation systemd starts on this machine, as its units say. */

import fs from 'node:fs';

export const UNIT_DIRECTORY = '/etc/systemd/system';
/** The one that says whose the units are. */
export const ENGINE_UNIT: string = `${UNIT_DIRECTORY}/holdfast-engine.service`;
/** First line of each file that an installation of units made: by it they are known again. */
export const UNIT_HEADER =
  '# Written by holdfast install; holdfast install --remove takes it away.';

/** Whether `text` is of such a file. */
export const isOurs = (text: string): boolean => text.startsWith(UNIT_HEADER);

/** The installation whose processes systemd starts on this machine; undefined where there is none. */
export function servedInstallation(): string | undefined {
  try {
    return dataOfUnit(fs.readFileSync(ENGINE_UNIT, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The installation that the engine's unit serves; undefined where the text is none of ours. */
function dataOfUnit(text: string): string | undefined {
  const said = isOurs(text) ? /^# data: (.*)$/m.exec(text)?.[1] : undefined;
  const data: unknown = said === undefined ? undefined : JSON.parse(said);
  return typeof data === 'string' ? data : undefined;
}
