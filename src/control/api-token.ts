/** The token of the API over TCP: a secret in DIR/token that opens everything, for its owner's eyes alone. */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import fs from 'node:fs';

import { type Installation, replaceFile } from './installation.ts';

const TOKEN_BYTES = 32;

/** The token, which is made where there is none yet. */
export function findToken({ tokenFile }: Installation): string {
  try {
    fs.writeFileSync(tokenFile, `${newToken()}\n`, { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // Whoever copied it here may have let others read it.
    fs.chmodSync(tokenFile, 0o600);
  }
  return fs.readFileSync(tokenFile, 'utf8').trim();
}

/** Puts a fresh token in place of the one before, which opens nothing from now on. */
export function rotateToken({ tokenFile }: Installation): string {
  const token = newToken();
  replaceFile(tokenFile, `${token}\n`);
  return token;
}

const newToken = (): string => randomBytes(TOKEN_BYTES).toString('base64url');

/** Whether `authorization` (RFC 6750: `Bearer TOKEN`) has the token that is in the file now. In the same time however much is right. */
export function isAuthorized(
  authorization: string | undefined,
  { tokenFile }: Installation,
): boolean {
  const [, given] = /^bearer +([\w.~+/-]+=*) *$/i.exec(authorization ?? '') ?? [];
  if (given === undefined) return false;
  return timingSafeEqual(digest(given), digest(readOrNothing(tokenFile)));
}

/** Read anew each time: a token that was rotated counts at once. */
function readOrNothing(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
