/** What a value must look like, and how people are told to write it. */
interface Format {
  pattern: RegExp;
  write: string;
}

/** What is told of an organization, declared once. */
export interface Field extends Partial<Format> {
  /** The place that alone tells it; without, both do: the AWS secret by its key `aws_<name>_<field>`, and the file. */
  only?: 'secret' | 'file';
  /** A text where nothing else is said. */
  type?: 'boolean' | 'tag';
  /**
   * Belongs to the role, and goes with its ARN only: one of them alone is more likely a slip than a wish to do
   * without the role.
   */
  ofRole?: true;
  /** What it is, for the documentation. */
  meaning: string;
  /** What holds where the file does not tell it. */
  unset?: string;
}

/** What an HTTP header can carry: the SDK's own refusal of anything else does not tell which key it is. */
const accessKey: Format = {
  pattern: /^[\x21-\x7e]+$/,
  write: 'it holds no space, no line break and nothing but ASCII',
};

/** Every region of every partition that the SDK knows, its `aws-global` and the like among them, and new ones. */
export const region: Format = {
  pattern: /^(?:[a-z]{2,}(?:-[a-z]+)+-\d+|aws(?:-[a-z]+)*-global)$/,
  write: 'set it, for example to eu-west-1',
};

/** AWS Cost Explorer API reference, GetCostAndUsage: BillingViewArn. */
const billingView: Format = {
  pattern: /^arn:aws[a-z-]*:billing::\d{12}:billingview\/[-a-zA-Z0-9/:_+=.@]{1,75}$/,
  write: 'write it as arn:aws:billing::123456789012:billingview/name',
};

/**
 * Everything that the AWS secret or the configuration file tells of an organization. From here come the
 * secret's keys, the file's keys and both checks, what the organization is reached with, and the table of the
 * documentation.
 */
export const fields = {
  name: { only: 'file', meaning: "the organization's name" },
  access_key_id: {
    ...accessKey,
    only: 'secret',
    meaning: 'access key that assumes the role, or asks itself',
  },
  secret_access_key: { ...accessKey, only: 'secret', meaning: "the access key's secret" },
  profile: {
    only: 'file',
    meaning: 'profile of the shared AWS files: keys, SSO, `role_arn` …',
    unset: "`AWS_PROFILE`, else the SDK's default chain",
  },
  // AWS STS API reference, AssumeRole: RoleArn, RoleSessionName, ExternalId.
  roleArn: {
    pattern: /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/,
    write: 'write it as arn:aws:iam::123456789012:role/name',
    ofRole: true,
    meaning: 'role to assume with these credentials',
    unset: 'none: they ask for themselves',
  },
  roleSessionName: {
    pattern: /^[\w+=,.@-]{2,64}$/,
    write: 'use 2 to 64 letters, digits and the characters _ + = , . @ -',
    ofRole: true,
    meaning: "the session's name, as CloudTrail shows it",
    unset: '`aws-billing-pipeline`',
  },
  externalId: {
    pattern: /^[\w+=,.@:/-]{2,1224}$/,
    write: 'use 2 to 1224 letters, digits and the characters _ + = , . @ : / -',
    ofRole: true,
    meaning: "external id that the role's trust policy asks for",
    unset: 'none',
  },
  region: {
    ...region,
    only: 'file',
    meaning: 'where STS is asked',
    unset: "`AWS_REGION`, else the profile's, else `us-east-1`",
  },
  billingViewArn: {
    ...billingView,
    meaning: 'billing view whose cost is asked for',
    unset: 'the primary one',
  },
  costViewArn: {
    ...billingView,
    meaning: 'billing view that tells what the same costs the reseller: the column CostAmount',
    unset: 'none',
  },
  listAccounts: {
    type: 'boolean',
    pattern: /^(?:true|false)$/,
    write: 'write true or false',
    meaning:
      '`false`: the customers are the accounts that have cost, and Organizations is not asked',
    unset: '`true`',
  },
  tag: {
    only: 'file',
    type: 'tag',
    meaning: "Tag of the organization's rows, as in `tags`",
    unset: '`aws`',
  },
} as const satisfies Record<string, Field>;

type Fields = typeof fields;
type ValueOf<K extends keyof Fields> = Fields[K] extends { type: 'boolean' } ? boolean : string;
type Without<Place extends 'secret' | 'file'> = {
  [K in keyof Fields]: Fields[K] extends { only: Place } ? never : K;
}[keyof Fields];

/** A key of the secret's group of keys for one organization. */
export type SecretField = Without<'file'>;

/** An organization as the configuration file lists it, each value well-formed. */
export type ListedOrganization = { name: string } & {
  [K in Exclude<Without<'secret'>, 'name'>]?: ValueOf<K> | undefined;
};

/** What both places tell. */
export type OrganizationValues = {
  [K in SecretField & Without<'secret'>]?: ValueOf<K> | undefined;
};

const entries: readonly (readonly [string, Field])[] = Object.entries(fields);

export const fileFields = entries.filter(([, { only }]) => only !== 'secret');

export const secretFields = entries.filter(
  ([, { only }]) => only !== 'file',
) as readonly (readonly [SecretField, Field])[];

/** The fields of the role, its ARN first. */
export const roleFields = entries.filter(([, { ofRole }]) => ofRole).map(([key]) => key);

/**
 * Whether a region, or a role's ARN, belongs to AWS GovCloud (US), which has no Cost Explorer: its cost is
 * told by the commercial account that pays for it (AWS GovCloud user guide, "Billing and payment").
 */
export function isGovCloud(regionOrArn: string): boolean {
  return /^(?:us-gov-|aws-us-gov-|arn:aws-us-gov:)/.test(regionOrArn);
}

/** What to do instead of asking GovCloud. */
export const GOV_CLOUD = {
  message: 'is of AWS GovCloud, which has no Cost Explorer',
  next: "ask the commercial account that pays for GovCloud: take its keys and role, and a region such as us-east-1; GovCloud's cost is in its answers",
};
