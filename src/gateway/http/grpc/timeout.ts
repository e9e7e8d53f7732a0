/** "Timeout" of PROTOCOL-HTTP2.md: at most eight digits and a unit. */
const form = /^([0-9]{1,8})([HMSmun])$/;

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** From the finest on; the first in which the time has eight digits or fewer loses least. */
const finestFirst = ['n', 'u', 'm', 'S', 'M', 'H'];
const maxDigits = 99_999_999;

/** The value of `grpc-timeout` in ms, with fractions. Undefined: none, or none that is well-formed. */
export function parseGrpcTimeout(value: string | readonly string[] | undefined): number | undefined {
  const match = typeof value === 'string' ? form.exec(value) : null;
  const unit = match && unitMs[match[2] ?? ''];
  return match && unit !== undefined && unit !== null ? Number(match[1]) * unit : undefined;
}

/** Rounded down, so that a deadline never grows on its way; of less than a nanosecond nothing is left. */
export function formatGrpcTimeout(ms: number): string {
  for (const unit of finestFirst) {
    const value = Math.floor(ms / (unitMs[unit] ?? 1));
    if (value <= maxDigits) return `${Math.max(0, value)}${unit}`;
  }
  return `${maxDigits}H`;
}
