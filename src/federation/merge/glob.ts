import type { ServiceKey } from '../../model/names.ts';

/**
 * Whether a `namespace/name` glob of the roster covers a service. `*` stands for any run of characters within its part;
 * a lone `*` covers everything.
 */
export function globCovers(glob: string, service: ServiceKey): boolean {
  if (glob === '*') return true;
  const slash = glob.indexOf('/');
  if (slash < 0) return false;
  const at = service.indexOf('/');
  return matches(glob.slice(0, slash), service.slice(0, at)) && matches(glob.slice(slash + 1), service.slice(at + 1));
}

/** Whether a cluster that may export `globs` may export `service`. */
export function mayExport(globs: readonly string[], service: ServiceKey): boolean {
  return globs.some((glob) => globCovers(glob, service));
}

/** Linear for any pattern: on a mismatch only the last star is tried one character further. */
function matches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = t;
    } else if (pattern[p] === text[t]) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
