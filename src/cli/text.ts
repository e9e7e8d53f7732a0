/** Control characters other than a newline; bidirectional overrides as well. */
const unsafe = /(?!\n)[\p{Cc}\p{Bidi_Control}]/gu;

/**
 * Text that cannot move the cursor or hide what stands beside it. Names and messages come from other clusters, and a
 * terminal obeys whatever it is sent.
 */
export function clean(text: string): string {
  return text.replaceAll(unsafe, '\ufffd');
}

/** `0.2s`, `45s`, `5m`, `7h`, `298d`: two figures are enough to judge an age. */
export function formatAge(ms: number | undefined): string {
  if (ms === undefined) return '-';
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  if (seconds < 120) return `${Math.round(seconds)}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Milliseconds to one decimal below 100: `11.8`, `4`, `250`. */
export function formatMs(ms: number | undefined): string {
  if (ms === undefined) return '-';
  return ms < 100 ? String(Number(ms.toFixed(1))) : String(Math.round(ms));
}

/**
 * `88%`, `99.98%`. Only 1 is shown as `100%` and only 0 as `0%`: a rounded "100%" would hide a failure.
 */
export function formatShare(share: number | undefined): string {
  if (share === undefined) return '-';
  if (share <= 0) return '0%';
  if (share >= 1) return '100%';
  const percent = Math.min(99.99, Math.max(0.01, share * 100));
  return `${Number(percent.toFixed(2))}%`;
}

/** `1 gateway`, `2 gateways`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
