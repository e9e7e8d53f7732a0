import type { AccessPlan, AccessRule } from '../model/access.ts';
import { namespaceOf, type ServiceKey } from '../model/names.ts';
import type { TrafficField, TrafficFields } from './fields.ts';
import { describeOrigin, type PublishedPolicy } from './policy.ts';

/** A field of a policy that does not count, because another policy says it too and comes first. */
export interface OverriddenField {
  readonly policy: PublishedPolicy;
  readonly field: TrafficField;
  readonly by: PublishedPolicy;
}

/** What all policies together say of one service. */
export interface StatedPolicy {
  /** Only what some policy states. */
  readonly fields: Partial<TrafficFields>;
  readonly origins: ReadonlyMap<TrafficField, PublishedPolicy>;
  readonly overridden: readonly OverriddenField[];
}

/** How near to one service a policy aims: the nearer wins. */
type Reach = 'federation' | 'namespace' | 'service';

const byReach: readonly Reach[] = ['federation', 'namespace', 'service'];

/**
 * The policies in force in one cluster. Where several apply, the most specific wins field by field: service, then
 * namespace, then federation; of equals the older, then publisher and name in order (policy.md). Immutable; what it
 * says of a service is the same object each time.
 */
export class PolicySet {
  static readonly empty: PolicySet = new PolicySet([]);

  readonly policies: readonly PublishedPolicy[];
  /** `federation`, `namespace <namespace>`, `service <key>` → policies, the winning one last. */
  readonly #traffic = new Map<string, PublishedPolicy[]>();
  /** Namespace → access policies in a fixed order. */
  readonly #access = new Map<string, PublishedPolicy[]>();
  readonly #stated = new Map<string, StatedPolicy>();
  readonly #rules = new Map<ServiceKey, readonly AccessRule[]>();

  constructor(policies: readonly PublishedPolicy[]) {
    this.policies = policies.toSorted((a, b) => -precedence(a, b));
    for (const published of this.policies) {
      const { name, body } = published.policy;
      if (body.kind === 'AccessPolicy') append(this.#access, name.namespace ?? '', published);
      else append(this.#traffic, scopeOf(published), published);
    }
  }

  /** What policies state of a service. */
  stated(service: ServiceKey): StatedPolicy {
    const namespace = namespaceOf(service);
    // Services that no policy names share what their namespace has.
    const own = this.#traffic.has(`service ${service}`);
    const key = own ? `service ${service}` : `namespace ${namespace}`;
    let stated = this.#stated.get(key);
    if (!stated) {
      const layers = byReach.flatMap((reach) => {
        if (reach === 'service' && !own) return [];
        const of = reach === 'namespace' ? ` ${namespace}` : reach === 'service' ? ` ${service}` : '';
        return this.#traffic.get(`${reach}${of}`) ?? [];
      });
      stated = combine(layers);
      this.#stated.set(key, stated);
    }
    return stated;
  }

  /** Rules of the access policies that target a service; empty: none does. */
  rules(service: ServiceKey): readonly AccessRule[] {
    let rules = this.#rules.get(service);
    if (!rules) {
      rules = (this.#access.get(namespaceOf(service)) ?? []).flatMap((published) => ruleOf(published, service));
      this.#rules.set(service, rules);
    }
    return rules;
  }

  /**
   * Who may call a service. As soon as an access policy targets it, what none of them allows is refused. Undefined: the
   * export alone decides, and lets every member in.
   */
  access(service: ServiceKey, allow: 'members' | 'policy'): AccessPlan | undefined {
    const rules = this.rules(service);
    const enforced = rules.find((rule) => !rule.audit);
    if (enforced) return { otherwise: 'deny', why: `${enforced.policy} targets it, and no rule allows`, rules };
    if (allow === 'policy') return { otherwise: 'deny', why: 'allow: policy, and no policy allows', rules };
    const { fields, origins } = this.stated(service);
    if (fields['access.requirePolicy']) {
      const origin = origins.get('access.requirePolicy');
      const by = origin ? describeOrigin(origin) : 'the federation';
      return { otherwise: 'deny', why: `${by} requires a policy, and none allows`, rules };
    }
    return rules.length === 0 ? undefined : { otherwise: 'allow', why: 'allow: members', rules };
  }
}

/** Negative: `a` wins over `b`, both being equally specific. */
function precedence(a: PublishedPolicy, b: PublishedPolicy): number {
  return (
    a.createdAt - b.createdAt ||
    compare(a.publisher, b.publisher) ||
    compare(a.policy.name.kind, b.policy.name.kind) ||
    compare(a.policy.name.namespace ?? '', b.policy.name.namespace ?? '') ||
    compare(a.policy.name.name, b.policy.name.name)
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function scopeOf({ policy: { name, body } }: PublishedPolicy): string {
  if (body.kind === 'FederationPolicy') return 'federation';
  if (body.kind === 'TrafficPolicy' && body.service !== undefined) return `service ${body.service}`;
  return `namespace ${name.namespace ?? ''}`;
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

/** `layers`: the winning one last. */
function combine(layers: readonly PublishedPolicy[]): StatedPolicy {
  const fields = new Map<TrafficField, unknown>();
  const origins = new Map<TrafficField, PublishedPolicy>();
  const lost: { policy: PublishedPolicy; field: TrafficField }[] = [];
  for (const published of layers) {
    const { body } = published.policy;
    if (body.kind === 'AccessPolicy') continue;
    for (const [name, value] of Object.entries(body.fields)) {
      const field = name as TrafficField;
      const before = origins.get(field);
      if (before) lost.push({ policy: before, field });
      fields.set(field, value);
      origins.set(field, published);
    }
  }
  return {
    fields: Object.fromEntries(fields) as Partial<TrafficFields>,
    origins,
    overridden: lost.map((each) => ({ ...each, by: origins.get(each.field) ?? each.policy })),
  };
}

function ruleOf(published: PublishedPolicy, service: ServiceKey): AccessRule[] {
  const { body } = published.policy;
  if (body.kind !== 'AccessPolicy' || (body.services && !body.services.has(service))) return [];
  const { action, audit, from, ports, requests } = body;
  return [{ policy: describeOrigin(published), action, audit, from, ports, ...(requests && { requests }) }];
}
