/**
 * Records that are not those of the drives: gone, where to begin anew would forget the drives with their volumes; or a copy, where the
 * original would not know what the copy does to a drive that both tell of.
 */

import fs from 'node:fs';
import path from 'node:path';

import { recordsInode } from './drive-file.ts';
import { Refusal } from '../model/errors.ts';

/** Throws INSTALLATION_START where `directory` has neither state.db nor store.json, and its engine.json names drives. */
export function refuseLost(directory: string): void {
  const records = path.join(directory, 'state.db');
  const list = path.join(directory, 'engine.json');
  const isInEtcd = fs.existsSync(path.join(directory, 'store.json'));
  if (isInEtcd || fs.existsSync(records) || !fs.existsSync(list)) return;
  const [first] = listIn(list).drives;
  if (first === undefined) return;
  const problem = `"${records}" is gone, and the drive "${path.resolve(directory, first.path)}" is in use by this installation. Drives and volumes are untouched: put a copy of that file back, or move "${list}" away to begin without them`;
  throw new Refusal('INSTALLATION_START', { problem });
}

/** Throws INSTALLATION_START where the state.db of `directory` is not the file with which its engine.json was written, and a drive lies outside. */
export function refuseCopied(directory: string): void {
  const file = path.join(directory, 'engine.json');
  if (!fs.existsSync(file)) return;
  const { records, drives } = listIn(file);
  // Those below the directory were copied with it.
  const outside = drives.find((drive) => path.isAbsolute(drive.path));
  if (outside === undefined || records === undefined || records === recordsInode(directory)) return;
  const problem = `the records in "${directory}" are a copy, and the drive "${outside.path}" may be in use by the original, which would not know what is done to it here. Where the original is gone or was put back, remove "${file}", and start again`;
  throw new Refusal('INSTALLATION_START', { problem });
}

type List = {
  readonly records?: number;
  readonly drives: readonly { readonly path: string }[];
};

/** A list that cannot be read keeps the engine from starting, which says so. */
function listIn(file: string): List {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')) as List;
  } catch {
    return { drives: [] };
  }
}
