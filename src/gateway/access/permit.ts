import type { AccessJudge, AccessVerdict, Caller } from '../../model/access.ts';
import type { ServiceKey } from '../../model/names.ts';
import { carriesRequests, declaredProtocol } from '../../model/protocol.ts';
import type { ServiceRoute } from '../../model/route.ts';

/** Who was let in to what, from another cluster. */
export interface Permitted {
  readonly service: ServiceKey;
  /** Service port. */
  readonly port: number;
  readonly caller: Caller;
  /** Its bytes are carried without a look at them; else each request is judged. */
  readonly unseen: boolean;
}

/** What a permit is judged by. */
export interface PermitContext {
  readonly access: AccessJudge;
  /** The route of a service as it is now; undefined: it is not in the table. */
  readonly routeOf: (service: ServiceKey) => ServiceRoute | undefined;
}

/** Whether each request on this port can be told apart. */
export function seesRequests({ ports }: ServiceRoute, port: number): boolean {
  return carriesRequests(declaredProtocol(ports.find((one) => one.port === port) ?? {}));
}

/** What one caller of another cluster may do for as long as its connection lasts: always by the rules of the moment. */
export class Permit {
  readonly #context: PermitContext;
  readonly #of: Permitted;
  /** By which it was let in, or was found to be still allowed. */
  #route: ServiceRoute | undefined;

  constructor(context: PermitContext, of: Permitted) {
    this.#context = context;
    this.#of = of;
    this.#route = context.routeOf(of.service);
  }

  /** Whether one request may be made. `target`: as received. */
  request(method: string, target: string): AccessVerdict<'allowed' | 'denied'> {
    const { service, port, caller } = this.#of;
    const route = this.#context.routeOf(service);
    if (!route?.exported) return { decision: 'denied', rule: 'not exported' };
    return this.#context.access.request({
      route,
      port,
      caller,
      seesRequests: seesRequests(route, port),
      method,
      target,
    });
  }

  /** Why the connection must end; undefined: it may go on. Costs nothing as long as the service is as it was. */
  revoked(): string | undefined {
    const { service, port } = this.#of;
    const route = this.#context.routeOf(service);
    if (route !== undefined && route === this.#route) return undefined;
    if (!route?.exported) return 'not exported any more';
    if (!route.ports.some((one) => one.port === port)) return 'not exported any more on this port';
    const why = this.#against(route);
    if (why === undefined) this.#route = route;
    return why;
  }

  #against(route: ServiceRoute): string | undefined {
    const { port, caller, unseen } = this.#of;
    const asked = { port, caller, seesRequests: seesRequests(route, port) };
    const { decision, rule } = this.#context.access.connection({ ...asked, route });
    if (decision === 'allowed' || (decision === 'perRequest' && !unseen)) return undefined;
    if (decision === 'denied') return rule;
    // Requests that went by unseen cannot be judged. What is only tried out must not end anything, though.
    const inForce = this.#context.access.connection({ ...asked, route: withoutAudit(route) });
    return inForce.decision === 'allowed' ? undefined : rule;
  }
}

function withoutAudit(route: ServiceRoute): ServiceRoute {
  const { access } = route;
  return access ? { ...route, access: { ...access, rules: access.rules.filter((rule) => !rule.audit) } } : route;
}
