import type { ClientHttp2Session } from 'node:http2';
import { IsthmusError } from '../../../model/error.ts';
import type { Clock, Timer } from '../../../model/ports/clock.ts';
import type { ServiceEntry } from '../../balance/service-entry.ts';
import type { GatewayLimits } from '../../limits.ts';
import type { Dialled, Place } from '../dial.ts';
import { Link } from '../link.ts';
import type { Seat, Seats, SeatWant } from './h2-channel.ts';
import { H2Upstream, openH2 } from './h2-upstream.ts';
import type { Upstreams } from './upstreams.ts';

export interface H2SessionsOptions {
  readonly upstreams: Upstreams;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
}

interface Waiter {
  readonly want: SeatWant;
  readonly done: (seat: Seat) => void;
}

/**
 * A tunnel ends at one endpoint of the other cluster, so that requests are spread over several once there are so many
 * at a time in each.
 */
const spreadAt = 16;
/** Sessions through one gateway that are opened for that reason alone. */
const maxSpread = 8;

/** The sessions to one place, of requests that may share one. */
class Group {
  readonly place: Place;
  readonly sessions: H2Upstream[] = [];
  /** They share the session that is being opened. */
  readonly waiters: Set<Waiter> = new Set<Waiter>();
  /** All sessions are there and full. */
  readonly queue: Set<Waiter> = new Set<Waiter>();
  dialling: boolean = false;
  /** As the latest request asked, for those that are opened ahead of need. */
  want: SeatWant;

  constructor(place: Place, want: SeatWant) {
    this.place = place;
    this.want = want;
  }

  /** The least busy one with room. */
  pick(): H2Upstream | undefined {
    let best: H2Upstream | undefined;
    for (const one of this.sessions) if (one.hasRoom && (!best || one.active < best.active)) best = one;
    return best;
  }
}

/** HTTP/2 sessions to the upstreams of one service port. Many requests share one. */
export class H2Sessions implements Seats {
  readonly speaks = 'HTTP/2';
  readonly #entry: ServiceEntry;
  readonly #options: H2SessionsOptions;
  readonly #groups = new Map<Place, Map<string, Group>>();
  readonly #all = new Set<H2Upstream>();
  readonly #stops = new Set<() => void>();

  constructor(entry: ServiceEntry, options: H2SessionsOptions) {
    this.#entry = entry;
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  take(want: SeatWant, done: (seat: Seat) => void): () => void {
    const first = this.#options.upstreams.first(this.#entry, want);
    const group = first && this.#group(first, want);
    const open = group?.pick();
    if (group && open) {
      if (this.#wantsMore(group, open)) this.#dial(group);
      done({ channel: open, attempts: 1 });
      return () => undefined;
    }
    // Who was disappointed by a place already goes its own way.
    if (!group || want.tried.length > 0) return this.#open(want, first, done);
    return this.#wait(group, { want, done });
  }

  /** Call about once a second. `serves`: whether a place is still one. `now`: monotonic ms. */
  sweep(now: number, serves: (place: Place) => boolean): void {
    const { httpUpstreamIdleMs } = this.#options.limits;
    // Those too that take nothing new: what still runs in them must not wait for a server that is gone.
    for (const one of this.#all) one.check(now);
    for (const [place, groups] of this.#groups) {
      const stays = serves(place);
      for (const [key, group] of groups) {
        for (const one of group.sessions.slice()) {
          const idle = one.idleSince !== undefined && now - one.idleSince >= httpUpstreamIdleMs;
          if (!stays || idle || !one.dialled.usable) one.retire();
        }
        if (stays) this.#renewOld(group, now);
        if (group.sessions.length === 0 && group.waiters.size === 0 && group.queue.size === 0 && !group.dialling) {
          groups.delete(key);
        }
      }
      if (groups.size === 0) this.#groups.delete(place);
    }
  }

  /** Ends all at once. */
  close(): void {
    for (const stop of this.#stops) stop();
    for (const one of this.#all) one.destroy();
    this.#groups.clear();
  }

  #group(place: Place, want: SeatWant): Group {
    const key = place instanceof Link ? want.key : '';
    let groups = this.#groups.get(place);
    if (!groups) this.#groups.set(place, (groups = new Map()));
    let group = groups.get(key);
    if (!group) groups.set(key, (group = new Group(place, want)));
    return group;
  }

  #wantsMore({ place, sessions, dialling }: Group, best: H2Upstream): boolean {
    return !dialling && place instanceof Link && best.active >= spreadAt && sessions.length < maxSpread;
  }

  #wait(group: Group, waiter: Waiter): () => void {
    const { httpSessionsPerPlace, httpUpstreams, waitersPerGateway } = this.#options.limits;
    const tooMany = this.#all.size >= httpUpstreams && group.sessions.length === 0;
    if (tooMany || group.waiters.size + group.queue.size >= waitersPerGateway) {
      waiter.done({ channel: undefined, attempts: 0, why: 'busy', place: undefined, error: undefined });
      return () => undefined;
    }
    group.want = waiter.want;
    if (!group.dialling && group.sessions.length >= httpSessionsPerPlace) return this.#queue(group, waiter);
    group.waiters.add(waiter);
    if (!group.dialling) this.#dial(group);
    return () => void group.waiters.delete(waiter);
  }

  /** Until a stream ends, and no longer than a connection would be waited for. */
  #queue(group: Group, { want, done }: Waiter): () => void {
    let over = false;
    const leave = (): void => {
      over = true;
      timer.cancel();
      group.queue.delete(waiting);
    };
    const waiting: Waiter = {
      want,
      done: (seat) => {
        if (over) return;
        leave();
        done(seat);
      },
    };
    const timer: Timer = this.#options.clock.schedule(this.#options.limits.connectDeadlineMs, () =>
      waiting.done({ channel: undefined, attempts: 0, why: 'busy', place: undefined, error: undefined }),
    );
    group.queue.add(waiting);
    return leave;
  }

  /** Opens a session for all that wait; none may. */
  #dial(group: Group): void {
    group.dialling = true;
    this.#open({ ...group.want, tried: [] }, group.place, (seat) => {
      group.dialling = false;
      const waiters = [...group.waiters];
      group.waiters.clear();
      let served = 0;
      for (const waiter of waiters) {
        if (!seat.channel) waiter.done(seat);
        else if (seat.channel.hasRoom) {
          served += 1;
          waiter.done(seat);
        } else if (served > 0) {
          // As many as it takes have been served: the others begin anew.
          this.#wait(group, waiter);
        } else {
          waiter.done({ channel: undefined, attempts: seat.attempts, why: 'busy', place: undefined, error: undefined });
        }
      }
    });
  }

  #open(want: SeatWant, first: Place | undefined, done: (seat: Seat) => void): () => void {
    let handshake: { readonly dialled: Dialled; readonly stop: () => void } | undefined;
    const end = (seat: Seat): void => {
      this.#stops.delete(cancel);
      done(seat);
    };
    const cancel = (): void => {
      this.#stops.delete(cancel);
      stopDial();
      handshake?.stop();
      handshake?.dialled.release('neutral');
      handshake = undefined;
    };
    this.#stops.add(cancel);
    const stopDial = this.#options.upstreams.dial(this.#entry, want, {
      first,
      done: ({ dialled, attempts, nowhere, error }) => {
        if (!dialled) {
          return end({ channel: undefined, attempts, why: nowhere ? 'nowhere' : 'failed', place: undefined, error });
        }
        const stop = openH2(dialled, this.#options, (result) => {
          handshake = undefined;
          if (!(result instanceof IsthmusError)) return end({ channel: this.#add(want, dialled, result), attempts });
          dialled.release('reset');
          end({ channel: undefined, attempts, why: 'failed', place: dialled.place, error: result });
        });
        handshake = { dialled, stop };
      },
    });
    return cancel;
  }

  #add(want: SeatWant, dialled: Dialled, http2: ClientHttp2Session): H2Upstream {
    const group = this.#group(dialled.place, want);
    const upstream = new H2Upstream(http2, dialled, this.#options, {
      onRoom: (one) => {
        const [next] = group.queue;
        if (next && one.hasRoom) next.done({ channel: one, attempts: 1 });
      },
      onLeave: (one) => {
        const index = group.sessions.indexOf(one);
        if (index >= 0) group.sessions.splice(index, 1);
        this.#requeue(group);
      },
      onClose: (one) => void this.#all.delete(one),
    });
    // From here on it is in use request by request.
    dialled.release('neutral');
    group.sessions.push(upstream);
    this.#all.add(upstream);
    return upstream;
  }

  /** A session has left: there may be room for another, for which the next in the queue waits. */
  #requeue(group: Group): void {
    if (group.dialling || group.queue.size === 0) return;
    const [next] = group.queue;
    if (!next) return;
    group.queue.delete(next);
    this.#wait(group, next);
  }

  /** Tunnels are replaced from time to time, so that endpoints which have come or returned get their part. */
  #renewOld(group: Group, now: number): void {
    if (!(group.place instanceof Link) || group.dialling) return;
    const { httpTunnelAgeMs } = this.#options.limits;
    const old = group.sessions.find((one) => now - one.openedAt >= httpTunnelAgeMs * one.ageShare);
    if (!old) return;
    if (old.idleSince !== undefined) return old.retire();
    group.dialling = true;
    this.#open({ ...group.want, tried: [] }, group.place, (seat) => {
      group.dialling = false;
      if (seat.channel) old.retire();
      if (group.waiters.size > 0) this.#dial(group);
    });
  }
}
