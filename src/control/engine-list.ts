/** engine.json: the drives that the engine opens by itself at its start. */

import fs from 'node:fs';
import path from 'node:path';

import type { DriveRecord } from '../model/records.ts';
import { recordsInode } from './drive-file.ts';
import { replaceFile } from './installation.ts';
import { pathFrom } from './record-paths.ts';

/** Writes it for the installation in `directory`, where it is another. */
export function writeEngineList(directory: string, drives: readonly DriveRecord[]): void {
  const list = {
    version: 1,
    records: recordsInode(directory),
    drives: drives.map(({ id, path: at, generation }) => ({
      driveId: id,
      path: pathFrom(directory, at),
      generation,
    })),
  };
  const file = path.join(directory, 'engine.json');
  const text = `${JSON.stringify(list, undefined, 2)}\n`;
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) replaceFile(file, text);
}
