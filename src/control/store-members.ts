/**
 * DIR/store-members.json: where the members of the cluster's own etcd are, as they were last. A file beside store.json, which stays the one
 * that it is: drives know their installation by its inode (drive-file.ts).
 */

import fs from 'node:fs';
import path from 'node:path';

import { replaceFile } from './installation.ts';

const fileOf = (directory: string): string => path.join(directory, 'store-members.json');

/** Their endpoints; none where none are known. */
export function readMembers(directory: string): readonly string[] {
  try {
    const { endpoints }: { endpoints?: unknown } = JSON.parse(
      fs.readFileSync(fileOf(directory), 'utf8'),
    );
    return Array.isArray(endpoints) ? endpoints.filter((each) => URL.canParse(String(each))) : [];
  } catch {
    return [];
  }
}

/** Keeps them. */
export function keepMembers(directory: string, endpoints: readonly string[]): void {
  replaceFile(fileOf(directory), `${JSON.stringify({ version: 1, endpoints })}\n`);
}
