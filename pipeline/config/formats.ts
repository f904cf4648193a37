/** What a value must look like, and how people are told to write it. */
export interface Format {
  pattern: RegExp;
  write: string;
}

/** What an HTTP header can carry: the SDK's own refusal of anything else does not tell which key it is. */
export const accessKey: Format = {
  pattern: /^[\x21-\x7e]+$/,
  write: 'it holds no space, no line break and nothing but ASCII',
};

/** AWS STS API reference, AssumeRole: RoleArn. */
export const roleArn: Format = {
  pattern: /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/,
  write: 'write it as arn:aws:iam::123456789012:role/name',
};

/** AWS STS API reference, AssumeRole: RoleSessionName. */
export const roleSessionName: Format = {
  pattern: /^[\w+=,.@-]{2,64}$/,
  write: 'use 2 to 64 letters, digits and the characters _ + = , . @ -',
};

/** AWS STS API reference, AssumeRole: ExternalId. */
export const externalId: Format = {
  pattern: /^[\w+=,.@:/-]{2,1224}$/,
  write: 'use 2 to 1224 letters, digits and the characters _ + = , . @ : / -',
};

/** AWS Cost Explorer API reference, GetCostAndUsage: BillingViewArn. */
export const billingViewArn: Format = {
  pattern: /^arn:aws[a-z-]*:billing::\d{12}:billingview\/[-a-zA-Z0-9/:_+=.@]{1,75}$/,
  write: 'write it as arn:aws:billing::123456789012:billingview/name',
};

/** Our own: whether the organization's accounts are listed. */
export const listAccounts: Format = { pattern: /^(?:true|false)$/, write: 'write true or false' };

/** Every region of every partition that the SDK knows, its `aws-global` and the like among them, and new ones. */
export const region: Format = {
  pattern: /^(?:[a-z]{2,}(?:-[a-z]+)+-\d+|aws(?:-[a-z]+)*-global)$/,
  write: 'set it, for example to eu-west-1',
};

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
