import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../../../model/ports/clock.ts';
import type { Log } from '../../../model/ports/log.ts';
import { messageOf } from '../../../model/error.ts';
import { anythingHint } from '../../hint.ts';
import { endConnection } from './connection.ts';

export interface HintSubscription {
  close(): Promise<void>;
}

export interface HintOptions {
  readonly client: Redis;
  readonly channel: string;
  readonly pingMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: (hint: string) => void;
}

/**
 * Hears hints on a connection of its own, and subscribes again whenever that connection comes back. An idle subscriber
 * cannot see that its peer vanished, so it pings; the client's socket timeout then ends the connection.
 */
export function subscribeHints(options: HintOptions): HintSubscription {
  const { client, channel, pingMs, clock, log, listener } = options;
  let closed = false;
  let timer: Timer | undefined;
  const failed = (error: unknown): void => {
    if (!closed) log.debug({ channel, reason: messageOf(error) }, 'subscription to hints failed');
  };
  const ready = (): void => {
    client.subscribe(channel).then(
      () => listener(anythingHint),
      (error: unknown) => {
        failed(error);
        client.disconnect(true);
      },
    );
  };
  const beat = (): void => {
    if (closed) return;
    if (client.status === 'ready') client.ping().catch(failed);
    timer = clock.schedule(pingMs, beat);
  };
  client.on('ready', ready);
  client.on('message', (_channel: string, hint: string) => {
    // That one is ours to say.
    if (hint !== anythingHint) listener(hint);
  });
  if (client.status === 'ready') ready();
  timer = clock.schedule(pingMs, beat);
  return {
    async close(): Promise<void> {
      closed = true;
      timer?.cancel();
      await endConnection(client, clock);
    },
  };
}
