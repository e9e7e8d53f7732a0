import { IsthmusError } from '../model/error.ts';
import { type ExportPreview, exportPreviewPath } from '../model/export-report.ts';
import { bodyOf } from './body.ts';
import { post, type Routes } from './routes.ts';

/** What an agent answers about exports that have not happened. */
export interface ExportApi {
  /** `services`: as an agent's file lists them. @throws IsthmusError `invalid` with everything that is wrong */
  preview(services: readonly unknown[]): ExportPreview;
}

/** 1,000 services with all that can be said of them. */
const maxBodyBytes = 4 << 20;

/** Routes for exports; part of the agent's admin API. */
export function exportRoutes(api: ExportApi): Routes {
  return [
    post(
      exportPreviewPath,
      ({ body }) => {
        const { services } = bodyOf(body, ['services']);
        if (!Array.isArray(services)) throw new IsthmusError('invalid', `'services' must be a list`);
        return api.preview(services);
      },
      { maxBodyBytes },
    ),
  ];
}
