import { lookup as lookupName } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../model/ports/clock.ts';
import { isLoopback } from '../../model/address.ts';

/** A socket that listens here, as the operating system names it. */
export interface BoundAddress {
  readonly address: string;
  readonly port: number;
}

/** Interfaces come and go; looking at them costs a system call each. */
const keepMs = 5000;
const unspecified: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Knows which addresses lead back to this very gateway, by where they lead and not by how they are written. */
export class LocalAddresses {
  readonly #clock: Clock;
  /** What this gateway listens on now. */
  readonly #listeners: () => Iterable<BoundAddress>;
  #own: ReadonlySet<string> = new Set();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, listeners: () => Iterable<BoundAddress>) {
    this.#clock = clock;
    this.#listeners = listeners;
  }

  /** Whether dialling this IP address and port would reach a listener of this gateway. */
  isOwn(address: string, port: number): boolean {
    const dialled = plain(address);
    for (const bound of this.#listeners()) {
      if (bound.port !== port) continue;
      if (plain(bound.address) === dialled) return true;
      if (unspecified.has(bound.address) && this.#isLocal(dialled)) return true;
      // Dialling the unspecified address means this machine.
      if (unspecified.has(dialled)) return true;
    }
    return false;
  }

  /** For dialling a name: resolves it and refuses, with `ELOOP`, when it leads back here. */
  lookup(port: number): LookupFunction {
    return (name, options, done) => {
      lookupName(name, { ...options, all: true }, (error, addresses) => {
        if (error) return done(error, '');
        const others = addresses.filter(({ address }) => !this.isOwn(address, port));
        const [first] = others;
        if (!first) return done(loopError(name), '');
        if (options.all === true) done(null, others);
        else done(null, first.address, first.family);
      });
    };
  }

  #isLocal(address: string): boolean {
    if (isLoopback(address)) return true;
    const now = this.#clock.monotonic();
    if (now - this.#readAt >= keepMs) {
      const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
      this.#own = new Set(all.map((each) => plain(each.address)));
      this.#readAt = now;
    }
    return this.#own.has(address);
  }
}

/** Without a zone, and IPv4 in IPv6 (RFC 4291 §2.5.5.2) as IPv4. */
function plain(address: string): string {
  const [text = ''] = address.toLowerCase().split('%', 1);
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/.exec(text)?.[1];
  if (mapped !== undefined) return mapped;
  return isIP(text) === 6 ? shortest(text) : text;
}

/** One spelling for each IPv6 address (RFC 5952), which the URL parser knows. */
function shortest(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

function loopError(name: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`'${name}' leads back to this gateway`), { code: 'ELOOP' });
}
