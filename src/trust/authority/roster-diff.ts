import type { Roster } from '../../model/trust.ts';

/** Whether somebody who was trusted by `before` may no longer be by `after`. */
export function takesAway(before: Roster, after: Roster): boolean {
  const denied = new Set(before.deniedKeyIds);
  if (after.deniedKeyIds.some((keyId) => !denied.has(keyId))) return true;
  for (const { cluster, state, caKeyIds } of before.clusters.values()) {
    if (state !== 'active') continue;
    const now = after.clusters.get(cluster);
    if (now?.state !== 'active') return true;
    const keys = new Set(now.caKeyIds);
    if (caKeyIds.some((keyId) => !keys.has(keyId))) return true;
  }
  return false;
}
