import test from 'ava';
import { regionOf } from '../../transform/region.js';

const compute = 'Amazon Elastic Compute Cloud - Compute';

for (const [usageType, service, region] of [
  ['EUW3-BoxUsage:m5.large', compute, 'eu-west-3'],
  ['EU-BoxUsage:m5.large', compute, 'eu-west-1'],
  ['APS3-TimedStorage-ByteHrs', 'Amazon Simple Storage Service', 'ap-south-1'],
  ['AFS1-Requests-Tier1', 'Amazon Simple Storage Service', 'af-south-1'],
  ['CPT-Requests-Tier1', 'Amazon Simple Storage Service', 'af-south-1'],
  ['EUW3-USE1-AWS-Out-Bytes', 'EC2 - Other', 'eu-west-3'],
  ['eu-west-3-KMS-Requests', 'AWS Key Management Service', 'eu-west-3'],
  ['us-gov-west-1-KMS-Requests', 'AWS Key Management Service', 'us-gov-west-1'],
  ['BoxUsage:t3.micro', compute, 'us-east-1'],
  ['InstanceUsage:db.r5.large', 'Amazon Relational Database Service', 'us-east-1'],
  ['CW:Requests', 'AmazonCloudWatch', 'us-east-1'],
  ['DataTransfer-Out-Bytes', 'Amazon Simple Storage Service', 'us-east-1'],
  ['WriteCapacityUnit-Hrs', 'Amazon DynamoDB', 'us-east-1'],
  ['XYZ9-BoxUsage:t3.micro', compute, 'eu-central-1'],
  ['APS10-Requests', 'Amazon Athena', 'eu-central-1'],
  ['Global-Domain-TLD-com', 'Amazon Registrar', 'N/A'],
  ['Global-Requests', compute, 'N/A'],
  ['EU-DataTransfer-Out-Bytes', 'Amazon CloudFront', 'N/A'],
  ['HostedZone', 'Amazon Route 53', 'N/A'],
  ['DNS-Queries', 'Amazon Route 53', 'N/A'],
  ['MP:AP-Datadog_Hosts', 'Datadog', 'N/A'],
  ['NoUsageType', compute, 'N/A'],
  ['Dollar', 'AWS Support (Business)', 'N/A'],
  ['', 'Tax', 'N/A'],
  ['constructor-x', 'Tax', 'N/A'],
] as const) {
  test(`"${usageType}" of ${service} belongs to ${region}`, (t) => {
    t.is(regionOf(usageType, service, 'eu-central-1'), region);
  });
}
