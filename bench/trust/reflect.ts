/**
 * The part of the metadata reflection API that @peculiar/x509's container asks for when it is loaded. It never looks
 * anything up on the way of a signature.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>();

function of(target: object): Map<unknown, unknown> {
  const known = metadata.get(target) ?? new Map<unknown, unknown>();
  metadata.set(target, known);
  return known;
}

Object.assign(Reflect, {
  defineMetadata: (key: unknown, value: unknown, target: object) => void of(target).set(key, value),
  getMetadata: (key: unknown, target: object) => of(target).get(key),
  getOwnMetadata: (key: unknown, target: object) => of(target).get(key),
  hasOwnMetadata: (key: unknown, target: object) => of(target).has(key),
  metadata: (key: unknown, value: unknown) => (target: object) => void of(target).set(key, value),
});
