import { IsthmusError } from '../model/error.ts';
import { isPort } from '../model/names.ts';

/** Where something can be dialled. */
export interface HostPort {
  /** Name or address; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

const shape = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/;

/** Parses `host:port` or `[IPv6]:port`. @throws IsthmusError `invalid` */
export function parseHostPort(text: string): HostPort {
  const match = text.length <= 300 ? shape.exec(text) : null;
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !isPort(port)) {
    throw new IsthmusError(
      'invalid',
      `An address must be <host>:<port> or [<IPv6>]:<port>: current value is '${text.slice(0, 100)}'`,
    );
  }
  return { host, port };
}

/** The spelling that `parseHostPort` reads. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
