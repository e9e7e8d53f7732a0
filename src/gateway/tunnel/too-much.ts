import type { SpiffeId } from '../../model/identity.ts';

/** A connection and the bytes that wait in this process for its receivers. */
export interface Holder<Connection> {
  readonly holder: Connection;
  /** The peer that it belongs to; undefined: a client of this cluster. */
  readonly peer: SpiffeId | undefined;
  readonly bytes: number;
}

/**
 * The connections that must end so that no peer holds more than `perPeer` bytes and all together no more than `total`:
 * those that hold most, since a receiver that keeps up holds little.
 */
export function tooMuch<Connection>(
  holders: readonly Holder<Connection>[],
  bounds: { readonly total: number; readonly perPeer: number },
): ReadonlySet<Connection> {
  const shed = new Set<Connection>();
  const byPeer = new Map<SpiffeId, number>();
  let total = 0;
  for (const { peer, bytes } of holders) {
    total += bytes;
    if (peer !== undefined) byPeer.set(peer, (byPeer.get(peer) ?? 0) + bytes);
  }
  const overPeer = [...byPeer.values()].some((bytes) => bytes > bounds.perPeer);
  if (total <= bounds.total && !overPeer) return shed;
  for (const { holder, peer, bytes } of [...holders].sort((a, b) => b.bytes - a.bytes)) {
    const ofPeer = (peer !== undefined && byPeer.get(peer)) || 0;
    if (total <= bounds.total && ofPeer <= bounds.perPeer) continue;
    shed.add(holder);
    total -= bytes;
    if (peer !== undefined) byPeer.set(peer, ofPeer - bytes);
  }
  return shed;
}
