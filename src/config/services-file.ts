import { z } from 'zod';
import { section } from '../wire/schema.ts';
import type { ConfigDocument } from './document.ts';
import { type HealthCheckConfig, ownHealthCheck } from './health-check.ts';
import { type ServiceConfig, serviceList } from './services.ts';
import { type Validated, validate } from './validate.ts';

/** What the key `servicesFile` of an agent names: services that are listed apart from everything else. */
export interface ServicesFile {
  readonly services: readonly ServiceConfig[];
  /** For these services, where it differs from the agent's. */
  readonly healthCheck?: Partial<HealthCheckConfig>;
}

const schema: z.ZodType<ServicesFile> = section({
  services: serviceList.default([]),
  healthCheck: z.exactOptional(ownHealthCheck),
});

/** Reads a list of services. */
export function parseServicesFile(document: ConfigDocument): Validated<ServicesFile> {
  return validate(schema, document);
}
