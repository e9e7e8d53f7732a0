import type { Hub } from '../../../src/model/ports/hub.ts';

/** The hub with some methods replaced. */
export function altered(hub: Hub, change: Partial<Hub>): Hub {
  return new Proxy(hub, {
    get: (target, name: keyof Hub) => {
      const member = change[name] ?? target[name];
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
