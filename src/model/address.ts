import { IsthmusError } from './error.ts';
import { isPort } from './names.ts';

/** Where to listen or dial. The host is a name, an IPv4 address, or an IPv6 address without its brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const hostName = /^(?!-)[a-zA-Z0-9._-]{1,253}$/;
/** Shape only: the operating system has the last word on an address. */
const ipv6 = /^[0-9a-fA-F:.]{2,45}(%[a-zA-Z0-9._-]{1,16})?$/;

/** Whether `text` can be the host of an address: a name, an IPv4 or (with a colon, without brackets) an IPv6 address. */
export function isHost(text: string): boolean {
  return text.includes(':') ? ipv6.test(text) : hostName.test(text);
}

/**
 * Parses `host:port` and `[ipv6]:port` (RFC 3986 §3.2.2). Port 0 is accepted with `anyPort`: a free one is taken.
 * Undefined for anything else.
 */
export function parseHostPort(text: string, anyPort = false): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const host = match[1] ?? match[2] ?? '';
  const port = Number(match[3]);
  if (match[1] !== undefined && !host.includes(':')) return undefined;
  return isHost(host) && (isPort(port) || (anyPort && port === 0)) ? { host, port } : undefined;
}

/** As `parseHostPort`, of a text that must be one. @throws IsthmusError `invalid` */
export function requireHostPort(text: string): HostPort {
  const parsed = parseHostPort(text);
  if (parsed) return parsed;
  throw new IsthmusError(
    'invalid',
    `An address must be <host>:<port> or [<IPv6>]:<port>: current value is '${text.slice(0, 100)}'`,
  );
}

/** The text that `parseHostPort` reads back. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
