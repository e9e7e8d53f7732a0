/** An IP address as its bytes: 4 or 16. */
export type IpBytes = Uint8Array;

/** All addresses that begin with the same bits. */
export interface Cidr {
  /** Everything after `bits` is 0. */
  readonly bytes: IpBytes;
  readonly bits: number;
}

const ipv4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
const mappedPrefix = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255);

/** Reads an IPv4 or IPv6 address without brackets or zone; IPv4 in IPv6 (RFC 4291 §2.5.5.2) as IPv4. Undefined: none. */
export function parseIp(text: string): IpBytes | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(':')) return parseIpv4(text);
  const bytes = parseIpv6(text);
  return bytes && mappedPrefix.every((byte, index) => bytes[index] === byte) ? bytes.slice(12) : bytes;
}

/** Reads `10.0.0.0/24`, `fd00::/8` or a single address. Undefined: none, or bits are set after the prefix. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length, ...more] = text.split('/');
  const bytes = parseIp(address);
  if (!bytes || more.length > 0) return undefined;
  const width = bytes.length * 8;
  if (length === undefined) return { bytes, bits: width };
  if (!/^\d{1,3}$/.test(length) || Number(length) > width) return undefined;
  const bits = Number(length);
  return prefixOf(bytes, bits).every((byte, index) => byte === bytes[index]) ? { bytes, bits } : undefined;
}

/** The address with all bits after the first `bits` set to 0. */
export function prefixOf(bytes: IpBytes, bits: number): IpBytes {
  return bytes.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, bits - index * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
}

function parseIpv4(text: string): IpBytes | undefined {
  const parts = ipv4.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined;
}

/** RFC 4291 §2.2, all three forms. */
function parseIpv6(text: string): IpBytes | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(groups);
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const after = tail ?? [];
  const missing = 16 - head.length - after.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...Array.from({ length: missing }, () => 0), ...after]);
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    const embedded = index === parts.length - 1 && part.includes('.') ? parseIpv4(part) : undefined;
    if (embedded) bytes.push(...embedded);
    else if (/^[0-9a-fA-F]{1,4}$/.test(part))
      bytes.push(Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}
