import { z } from 'zod';
import { count, scalar, section } from '../wire/schema.ts';
import { duration, port, word } from './scalars.ts';

/** Status codes, both inclusive. */
export interface StatusRangeConfig {
  readonly from: number;
  readonly to: number;
}

/** An endpoint is up when a GET of `path` is answered with one of `expect`. */
export interface HttpCheckConfig {
  /** Default `/`. */
  readonly path: string;
  /** Default 200 to 399. */
  readonly expect: readonly StatusRangeConfig[];
}

/** How the endpoints of static services are checked. */
export interface HealthCheckConfig {
  /** Default 1 s. */
  readonly intervalMs: number;
  /** Default 500 ms. */
  readonly timeoutMs: number;
  /** Failed checks in a row until an endpoint is down. Default 2. */
  readonly failures: number;
  /** Good checks in a row until it is up again. Default 1. */
  readonly successes: number;
  /** The service port whose instance port is checked. Default: the first of the service. */
  readonly port?: number;
  /** Over HTTP; default false: by opening a TCP connection. */
  readonly http?: HttpCheckConfig | false;
}

const statusSyntax = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/;

const statusRange: z.ZodType<StatusRangeConfig> = scalar(`a status code, or a range such as '200-399'`, (value) => {
  const match = statusSyntax.exec(String(value));
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from <= to ? { from, to } : undefined;
});

/** One range stands for a list of it. */
const expected = z.preprocess(
  (value) => (value === undefined || Array.isArray(value) ? value : [value]),
  z
    .array(statusRange)
    .min(1)
    .max(16)
    .default([{ from: 200, to: 399 }]),
);

const http: z.ZodType<HttpCheckConfig | false> = z.union([
  z.literal(false),
  section(
    { path: word(`a path such as '/healthz'`, /^\/[\x21-\x7e]{0,1023}$/).default('/'), expect: expected },
    'false, or a mapping with path and expect',
  ),
]);

const interval = duration(50, 600_000);
const timeout = duration(10, 60_000);
const times = count(1, 100);

/** The key `healthCheck` of an agent or services file, every default applied. */
export const healthCheck: z.ZodType<HealthCheckConfig, unknown> = section({
  interval: interval.default(1000),
  timeout: timeout.default(500),
  failures: times.default(2),
  successes: times.default(1),
  port: z.exactOptional(port),
  http: z.exactOptional(http),
}).transform(({ interval: intervalMs, timeout: timeoutMs, ...rest }) => ({ intervalMs, timeoutMs, ...rest }));

/** The key `healthCheck` of one service: what differs for it. */
export const ownHealthCheck: z.ZodType<Partial<HealthCheckConfig>, unknown> = section({
  interval: z.exactOptional(interval),
  timeout: z.exactOptional(timeout),
  failures: z.exactOptional(times),
  successes: z.exactOptional(times),
  port: z.exactOptional(port),
  http: z.exactOptional(http),
}).transform(({ interval: intervalMs, timeout: timeoutMs, ...rest }) => ({
  ...(intervalMs !== undefined && { intervalMs }),
  ...(timeoutMs !== undefined && { timeoutMs }),
  ...rest,
}));
