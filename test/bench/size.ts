/** A month of consumption to be generated: each organization has a row for every account and service. */
export interface MonthSize {
  name: string;
  /** Accounts of each organization. */
  accounts: number;
  services: number;
}

export const organizationNames = ['oab', 'internal', 'spp_ecm', 'spp_pm'] as const;

/** Consumption rows of all organizations together. */
export function rowsOf({ accounts, services }: MonthSize): number {
  return organizationNames.length * accounts * services;
}

export const sizes = {
  '2k': { name: '2k', accounts: 20, services: 25 },
  '10k': { name: '10k', accounts: 50, services: 50 },
  '1m': { name: '1m', accounts: 2500, services: 100 },
  '10m': { name: '10m', accounts: 12_500, services: 200 },
} as const satisfies Record<string, MonthSize>;

export type SizeName = keyof typeof sizes;
