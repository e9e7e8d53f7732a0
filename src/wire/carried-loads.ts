import { z } from 'zod';
import { IsthmusError } from '../model/error.ts';
import { parseServiceKey, type ServiceKey } from '../model/names.ts';

/** Connections by service: what the other gateways of a cluster carry to its endpoints. */
export type CarriedLoads = ReadonlyMap<ServiceKey, number>;

/** As many as a report may have services. */
const maxServices = 20_000;
const maxBytes: number = 1 << 22;

const schema = z.record(z.string(), z.number().int().min(0));

/** JSON: service → connections. More than a report may name is left out. */
export function encodeCarriedLoads(loads: CarriedLoads): Uint8Array {
  return Buffer.from(JSON.stringify(Object.fromEntries([...loads].slice(0, maxServices))));
}

/** @throws IsthmusError `corrupt` */
export function decodeCarriedLoads(bytes: Uint8Array): CarriedLoads {
  if (bytes.length > maxBytes) {
    throw new IsthmusError('corrupt', `Loads of ${bytes.length} bytes are over the limit of ${maxBytes}`);
  }
  try {
    const given = Object.entries(schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))));
    return new Map(given.slice(0, maxServices).map(([key, load]) => [parseServiceKey(key), load]));
  } catch (cause) {
    throw new IsthmusError('corrupt', 'The loads of other gateways do not decode', { cause });
  }
}
