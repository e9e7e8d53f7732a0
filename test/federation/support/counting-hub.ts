import type { Hub } from '../../../src/model/ports/hub.ts';

/** What went over the way to a hub. */
export interface Traffic {
  /** Calls by method. */
  readonly calls: ReadonlyMap<string, number>;
  sent: number;
  received: number;
}

/** The hub, with calls counted and bytes weighed as they would go over a wire. */
export function counting(hub: Hub): { readonly hub: Hub; readonly traffic: Traffic; reset(): void } {
  const calls = new Map<string, number>();
  const traffic: Traffic = { calls, sent: 0, received: 0 };
  const counted = new Proxy(hub, {
    get(target, name: keyof Hub) {
      const member: unknown = target[name];
      if (typeof member !== 'function') return member;
      const method = member.bind(target) as (...args: unknown[]) => unknown;
      if (name === 'subscribe') return method;
      return async (...args: unknown[]) => {
        calls.set(name, (calls.get(name) ?? 0) + 1);
        traffic.sent += weigh(args);
        const answer = await method(...args);
        traffic.received += weigh(answer);
        return answer;
      };
    },
  });
  return {
    hub: counted,
    traffic,
    reset() {
      calls.clear();
      traffic.sent = 0;
      traffic.received = 0;
    },
  };
}

function weigh(value: unknown): number {
  if (value instanceof Uint8Array || typeof value === 'string') return value.length;
  if (value instanceof Map) return [...value].reduce((sum, pair) => sum + weigh(pair), 0);
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + weigh(item), 0);
  if (typeof value === 'object' && value !== null) return weigh(Object.values(value));
  return 1;
}
