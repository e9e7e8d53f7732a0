import { connect } from 'node:net';
import { Agent, request } from 'undici';
import { messageOf } from '../../model/error.ts';
import { formatHostPort } from '../../model/address.ts';

/** Status codes, both inclusive. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

/** An endpoint is up when a GET of `path` is answered with one of these status codes. Redirects are not followed. */
export interface HttpCheck {
  /** With its leading slash. */
  readonly path: string;
  readonly expect: readonly StatusRange[];
}

export interface CheckTarget {
  /** Host names are resolved for each check. */
  readonly address: string;
  readonly port: number;
}

/** What one check found; `reason`: why it is down, for people. */
export type CheckResult = { readonly up: true } | { readonly up: false; readonly reason: string };

/** A connection for each check: a service that takes none any more is not up. */
const oneRequestEach = new Agent({ keepAliveTimeout: 1, keepAliveMaxTimeout: 1, pipelining: 0 });
/** What a check reads of an answer before it ends the connection. */
const maxBodyBytes = 65_536;

/** Checks an endpoint by opening a TCP connection, or by asking it over HTTP. Never rejects. */
export function checkEndpoint(
  target: CheckTarget,
  { http, timeoutMs }: { readonly http?: HttpCheck | false; readonly timeoutMs: number },
): Promise<CheckResult> {
  return http ? checkHttp(target, http, timeoutMs) : checkTcp(target, timeoutMs);
}

function checkTcp({ address, port }: CheckTarget, timeoutMs: number): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (result: CheckResult): void => {
      cancel();
      socket.destroy();
      resolve(result);
    };
    // From the start, so that a name that does not resolve in time counts too.
    const cancel = afterRunning(timeoutMs, () => end({ up: false, reason: `no connection within ${timeoutMs} ms` }));
    socket.once('connect', () => end({ up: true }));
    socket.once('error', (error: NodeJS.ErrnoException) => end({ up: false, reason: error.code ?? error.message }));
  });
}

/** In how many steps a time-out is counted. */
const steps = 10;

/**
 * Fires after `delayMs` in which this process ran. Time in which it was held up does not count: answers were waiting
 * unread meanwhile, and what is up would be called down (a late timer runs before the I/O it waits for).
 */
function afterRunning(delayMs: number, task: () => void): () => void {
  let left = steps;
  const step = (): void => {
    left -= 1;
    if (left === 0) task();
    else timer = setTimeout(step, delayMs / steps);
  };
  let timer = setTimeout(step, delayMs / steps);
  return () => clearTimeout(timer);
}

async function checkHttp(target: CheckTarget, { path, expect }: HttpCheck, timeoutMs: number): Promise<CheckResult> {
  const origin = `http://${formatHostPort({ host: target.address, port: target.port })}`;
  const abort = new AbortController();
  const ended = abort.signal;
  const cancel = afterRunning(timeoutMs, () => abort.abort());
  try {
    const { statusCode, body } = await request(`${origin}${path}`, {
      dispatcher: oneRequestEach,
      reset: true,
      signal: ended,
      headers: { 'user-agent': 'isthmus-health-check' },
    });
    // The status has been given; what becomes of the rest is no part of it.
    body.on('error', () => undefined);
    await body.dump({ limit: maxBodyBytes, signal: ended }).catch(() => undefined);
    if (expect.some(({ from, to }) => statusCode >= from && statusCode <= to)) return { up: true };
    return { up: false, reason: `GET ${path} was answered with ${statusCode}` };
  } catch (thrown) {
    if (ended.aborted) return { up: false, reason: `GET ${path} was not answered within ${timeoutMs} ms` };
    const { code } = thrown as NodeJS.ErrnoException;
    return { up: false, reason: `GET ${path}: ${code ?? messageOf(thrown)}` };
  } finally {
    cancel();
  }
}
