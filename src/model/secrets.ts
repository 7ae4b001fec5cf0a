/** What must not leave the machine in a log or a bundle, known by the names that secrets go by. */

const SECRET_NAME = /token|secret|passw|passphrase|credential|authorization|api-?key|private-?key/i;
/** An authorization header, a join token, the user of a URL, and `NAME=VALUE`, `NAME: VALUE` and `"NAME":"VALUE"` of a secret name. */
const IN_TEXT: readonly (readonly [RegExp, string])[] = [
  [/\b(Bearer|Basic)\s+[\w+/.~=-]{6,}/gi, '$1 (hidden)'],
  [/\bhfj1\.[\w-]{6,}/g, '(hidden)'],
  [/(:\/\/[^\s/:@"]*):[^\s/@"]+@/g, '$1:(hidden)@'],
  [
    /((?:token|secret|passw(?:or)?d|passphrase|credential|api-?key|private-?key)[\w-]*\\?["']?\s*[:=]\s*)(?:\\?"[^"]*"|'[^']*'|[^\s,;"'}]+)/gi,
    '$1"(hidden)"',
  ],
];

/** `value` with the values of fields that bear a secret's name, and what looks like one in texts, replaced by "(hidden)". */
export function withoutSecrets(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name,
      SECRET_NAME.test(name) ? '(hidden)' : hide(each),
    ]),
  );
}

function hide(value: unknown): unknown {
  if (typeof value === 'string') return textWithoutSecrets(value);
  if (Array.isArray(value)) return value.map(hide);
  return typeof value === 'object' && value !== null ? withoutSecrets(value) : value;
}

/** The same for text of any kind. */
export function textWithoutSecrets(text: string): string {
  return IN_TEXT.reduce((all, [pattern, instead]) => all.replace(pattern, instead), text);
}
