import { IsthmusError } from '../../model/error.ts';

/** A second signal within this is the same one, told twice: by the terminal, and by the process that started us. */
const sameSignalMs = 1000;

let caught: AbortSignal | undefined;
const onHangups = new Set<() => void>();

/** As long as somebody listens, SIGHUP means "read your files again", as it does to daemons, and no longer "end". */
export function onHangup(listener: () => void): () => void {
  const own = (): void => listener();
  onHangups.add(own);
  return () => void onHangups.delete(own);
}

/**
 * From now on SIGINT, SIGTERM and (unless `onHangup`) SIGHUP abort the result instead of ending the process; one more
 * of them, a second later or more, ends it at once. May be called again: the same signal.
 */
export function catchSignals(): AbortSignal {
  if (caught) return caught;
  const controller = new AbortController();
  caught = controller.signal;
  let firstAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (signal === 'SIGHUP' && onHangups.size > 0) {
        for (const listener of onHangups) listener();
        return;
      }
      if (firstAt === undefined) {
        firstAt = performance.now();
        controller.abort(new IsthmusError('cancelled', `Stopped by ${signal}`));
      } else if (performance.now() - firstAt >= sameSignalMs) {
        process.exit(130);
      }
    });
  }
  return controller.signal;
}
