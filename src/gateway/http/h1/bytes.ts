/** Bytes that the grammar of HTTP/1.1 names (RFC 9110 §5.6, RFC 9112 §2–5). */
export const htab = 0x09;
export const lf = 0x0a;
export const cr = 0x0d;
export const space = 0x20;
export const colon = 0x3a;

const token = 1;
const field = 2;
const target = 4;
const kinds = new Uint8Array(256);

for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  mark(char.charCodeAt(0), token);
}
for (let byte = 0x20; byte <= 0xff; byte += 1) if (byte !== 0x7f) mark(byte, field);
mark(htab, field);
// RFC 3986, and what clients send unescaped all the same. `#` never reaches a server, `\` is a `/` to some.
for (let byte = 0x21; byte <= 0x7e; byte += 1) if (!'#\\"<>`'.includes(String.fromCharCode(byte))) mark(byte, target);

function mark(byte: number, kind: number): void {
  kinds[byte] = (kinds[byte] ?? 0) | kind;
}

/** `tchar`, RFC 9110 §5.6.2. */
export function isTokenByte(byte: number | undefined): boolean {
  return byte !== undefined && ((kinds[byte] ?? 0) & token) !== 0;
}

/** What a field value may hold: visible, blank, tab, `obs-text` (RFC 9110 §5.5). */
export function isFieldByte(byte: number | undefined): boolean {
  return byte !== undefined && ((kinds[byte] ?? 0) & field) !== 0;
}

export function isTargetByte(byte: number | undefined): boolean {
  return byte !== undefined && ((kinds[byte] ?? 0) & target) !== 0;
}

/** Whether the bytes from `start` are `name`, which is in lower case, whatever their case. */
export function startsWithName(bytes: Buffer, start: number, name: string): boolean {
  for (let index = 0; index < name.length; index += 1) {
    if (((bytes[start + index] ?? 0) | 0x20) !== name.charCodeAt(index)) return false;
  }
  return true;
}

/** Whether `text` stands at `start`. */
export function hasAt(bytes: Buffer, start: number, text: string): boolean {
  for (let index = 0; index < text.length; index += 1)
    if (bytes[start + index] !== text.charCodeAt(index)) return false;
  return true;
}
