import { toFileForm } from '../file-form.ts';
import type { ServiceConfig } from '../services.ts';
import { loadConfig, loadServicesFile } from './load.ts';

/**
 * The services that an agent's configuration, with its services file, or a services file alone lists: in the words of
 * the file, every default written out.
 * @throws IsthmusError `invalid`, all problems in its message
 */
export async function listServices(
  from: { readonly config: string } | { readonly file: string },
): Promise<readonly unknown[]> {
  return (await servicesOf(from)).map((service) => toFileForm(service));
}

async function servicesOf(
  from: { readonly config: string } | { readonly file: string },
): Promise<readonly ServiceConfig[]> {
  if ('file' in from) return (await loadServicesFile(from.file)).services;
  const { services, servicesFile } = await loadConfig('agent', from.config);
  const more = servicesFile === undefined ? [] : (await loadServicesFile(servicesFile)).services;
  return [...services, ...more];
}
