import { describeError, PipelineError } from './errors.js';
import type { SettingValues } from './settings.js';
import { nameOf } from './settings.js';
import { parseOrganizationName } from './staging/layout.js';

/**
 * Each organization's Tag, from "tags" and from the list of organizations, and what is wrong with the
 * names in the two, each fault with its place.
 */
export function tagsOf({ tags, organizations }: Pick<SettingValues, 'tags' | 'organizations'>): {
  tags: Record<string, string>;
  faults: string[];
} {
  const all = new Map(Object.entries(tags));
  const faults = Object.keys(tags).flatMap((name) => faultOf(name, 'tags'));
  const seen = new Set<string>();
  for (const { name, tag } of organizations) {
    faults.push(...faultOf(name, 'organizations'));
    if (seen.has(name)) faults.push(`${nameOf('organizations')}: names ${name} twice`);
    seen.add(name);
    if (tag === undefined) continue;
    if (Object.hasOwn(tags, name)) {
      const places = `${nameOf('organizations')}, and ${nameOf('tags')}`;
      faults.push(`${places}: both give ${name} a tag; give it in one of them`);
    }
    all.set(name, tag);
  }
  return { tags: Object.fromEntries(all), faults };
}

/** The Tag of an organization, which may have the name of what every object inherits. */
export function tagOf(tags: Readonly<Record<string, string>>, organization: string): string {
  return (Object.hasOwn(tags, organization) ? tags[organization] : undefined) ?? 'aws';
}

function faultOf(name: string, path: 'tags' | 'organizations'): string[] {
  try {
    parseOrganizationName(name);
    return [];
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return [`${nameOf(path)}: ${describeError(error)}`];
  }
}
