/**
 * Short codes of regions as usage types begin with them (AWS Global Infrastructure documentation, "AWS
 * Region billing codes"; the codes of the China and GovCloud partitions by the Amazon S3 user guide,
 * "Understanding your AWS billing and usage reports"). `CPT` and `EUW1` are older forms.
 */
const regions: Readonly<Record<string, string>> = {
  USE1: 'us-east-1',
  USE2: 'us-east-2',
  USW1: 'us-west-1',
  USW2: 'us-west-2',
  CAN1: 'ca-central-1',
  CAN2: 'ca-west-1',
  MXC1: 'mx-central-1',
  SAE1: 'sa-east-1',
  AFS1: 'af-south-1',
  CPT: 'af-south-1',
  APE1: 'ap-east-1',
  APE2: 'ap-east-2',
  APN1: 'ap-northeast-1',
  APN2: 'ap-northeast-2',
  APN3: 'ap-northeast-3',
  APS1: 'ap-southeast-1',
  APS2: 'ap-southeast-2',
  APS3: 'ap-south-1',
  APS4: 'ap-southeast-3',
  APS5: 'ap-south-2',
  APS6: 'ap-southeast-4',
  APS7: 'ap-southeast-5',
  APS8: 'ap-southeast-6',
  APS9: 'ap-southeast-7',
  EU: 'eu-west-1',
  EUW1: 'eu-west-1',
  EUW2: 'eu-west-2',
  EUW3: 'eu-west-3',
  EUC1: 'eu-central-1',
  EUC2: 'eu-central-2',
  EUN1: 'eu-north-1',
  EUS1: 'eu-south-1',
  EUS2: 'eu-south-2',
  ILC1: 'il-central-1',
  MEC1: 'me-central-1',
  MES1: 'me-south-1',
  UGE1: 'us-gov-east-1',
  UGW1: 'us-gov-west-1',
  CNN1: 'cn-north-1',
  CNW1: 'cn-northwest-1',
};

/** What a short code looks like; `EU` and `CPT` are the exceptions. */
const shortCode = /^[A-Z]{3}\d{1,2}$/;

/** Some services, such as KMS, begin with the region itself. */
const wholeCode = /^([a-z]{2}(?:-[a-z]+)+-\d)-/;

/**
 * Services of the first hour: their usage types carry no prefix in us-east-1 ("USE1 (or no prefix)", the
 * same page of the S3 user guide; "optional Region prefix", DynamoDB developer guide, "Understanding your
 * AWS billing and usage reports"; for the others, the usage types of AWS's price lists of us-east-1).
 */
const firstHour = new Set([
  'Amazon Elastic Compute Cloud - Compute',
  'EC2 - Other',
  'Amazon Simple Storage Service',
  'Amazon DynamoDB',
  'Amazon Relational Database Service',
  'Amazon ElastiCache',
  'Amazon Redshift',
  'Amazon Elastic MapReduce',
  'Amazon Elastic Load Balancing',
  'Elastic Load Balancing',
  'AmazonCloudWatch',
  'Amazon Simple Queue Service',
  'Amazon Simple Notification Service',
]);

/** Usage types that stand for no usage, whatever the service. */
const noUsage = new Set(['', 'NoUsageType', 'Dollar']);

/** Their usage types begin with the continents of edge locations, `EU` among them. */
const EDGE = 'Amazon CloudFront';

/**
 * The region that a usage type belongs to, by its prefix: `EUW3-BoxUsage:m5.large` is of eu-west-3. Of
 * data transfer between two regions, `EUW3-USE1-AWS-Out-Bytes`, it is the first, where it is billed.
 * @param fallback for a prefix that looks like a region's and is unknown.
 * @returns `N/A` for a usage type without a region.
 */
export function regionOf(usageType: string, service: string, fallback: string): string {
  if (noUsage.has(usageType) || service === EDGE) return 'N/A';
  const whole = wholeCode.exec(usageType)?.[1];
  if (whole !== undefined) return whole;
  const dash = usageType.indexOf('-');
  const prefix = dash < 0 ? '' : usageType.slice(0, dash);
  const known = Object.hasOwn(regions, prefix) ? regions[prefix] : undefined;
  if (known !== undefined) return known;
  if (shortCode.test(prefix)) return fallback;
  return firstHour.has(service) && prefix !== 'Global' ? 'us-east-1' : 'N/A';
}
