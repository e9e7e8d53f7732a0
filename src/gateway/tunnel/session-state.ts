/** The life of one HTTP/2 session to another gateway, and of the way to it. */
export type SessionState =
  /** Nothing open. `retryAt`: monotonic ms of the next attempt; undefined = none is planned. */
  | { readonly kind: 'idle'; readonly retryAt: number | undefined }
  | { readonly kind: 'connecting'; readonly since: number }
  /** The peer's settings have come: before that a refused client believes itself connected (TLS 1.3). */
  | { readonly kind: 'ready'; readonly since: number }
  /** No new streams; the ones it has go on. */
  | { readonly kind: 'draining'; readonly since: number; readonly reason: string }
  | { readonly kind: 'dead'; readonly since: number; readonly reason: string };

/** Whether `next` may follow: states only move on, and the dead stay dead. */
export function mayBecome(state: SessionState, next: SessionState['kind']): boolean {
  switch (state.kind) {
    case 'idle':
      return next === 'connecting' || next === 'dead';
    case 'connecting':
      return next === 'ready' || next === 'dead';
    case 'ready':
      return next === 'draining' || next === 'dead';
    case 'draining':
      return next === 'dead';
    case 'dead':
      return false;
  }
}
