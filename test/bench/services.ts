/**
 * Names of services as Cost Explorer writes them, marketplace products among them, whose sellers choose
 * any name: with commas, quotes and letters of other scripts. The first ones serve a small month.
 */
export const serviceNames: readonly string[] = [
  ...`Amazon Elastic Compute Cloud - Compute
EC2 - Other
Amazon Simple Storage Service
Okta, Inc. Workforce Identity
Amazon Relational Database Service
AWS Support (Business)
The "Observability" Platform; Annual
Amazon Virtual Private Cloud
AmazonCloudWatch
Énergie & Données SaaS (Paris)
AWS Lambda
AWS Key Management Service
AWS CloudTrail
Tax
Amazon DynamoDB
東京データ分析サービス
Amazon Route 53
Amazon CloudFront
AWS Cost Explorer
Amazon Elastic Load Balancing
AWS Config
AWS Secrets Manager
Amazon Simple Queue Service
Amazon Simple Notification Service
Amazon EC2 Container Registry (ECR)
Amazon Elastic Container Service
Amazon Elastic Container Service for Kubernetes
Amazon ElastiCache
Amazon OpenSearch Service
Amazon Redshift
Amazon Elastic File System
AWS Backup
AWS Glue
Amazon Athena
Amazon API Gateway
AWS WAF
Amazon GuardDuty
Amazon Inspector
AWS Security Hub
AWS Transfer Family
AWS Step Functions
Amazon Kinesis
Amazon Kinesis Firehose
Amazon Kinesis Analytics
Amazon SageMaker
Amazon Bedrock
Amazon WorkSpaces
Amazon Simple Email Service
AWS Systems Manager
AWS Direct Connect
Amazon Registrar
AWS Data Transfer
AWS Database Migration Service
AWS CodeBuild
AWS CodePipeline
AWS CodeCommit
AWS CodeArtifact
AWS CodeDeploy
AWS CloudFormation
AWS Certificate Manager
AWS Directory Service
AWS Shield
AWS Firewall Manager
AWS Network Firewall
AWS Global Accelerator
AWS Amplify
AWS AppSync
AWS App Runner
AWS Batch
AWS Budgets
AWS Cloud Map
AWS CloudHSM
AWS CloudShell
AWS Compute Optimizer
AWS Control Tower
AWS Data Exchange
AWS DataSync
AWS DeepRacer
AWS Device Farm
AWS Elastic Beanstalk
AWS Elastic Disaster Recovery
AWS Elemental MediaConvert
AWS Elemental MediaLive
AWS Elemental MediaPackage
AWS Elemental MediaStore
AWS Elemental MediaTailor
AWS Fault Injection Simulator
AWS Greengrass
AWS Ground Station
AWS HealthImaging
AWS HealthLake
AWS HealthOmics
AWS IoT
AWS IoT Analytics
AWS IoT Device Defender
AWS IoT Device Management
AWS IoT Events
AWS IoT SiteWise
AWS IoT TwinMaker
AWS Lake Formation
AWS License Manager
AWS Mainframe Modernization Service
AWS Marketplace
AWS Migration Hub Refactor Spaces
AWS OpsWorks
AWS Outposts
AWS Payment Cryptography
AWS Premium Support
AWS Private Certificate Authority
AWS Proton
AWS Resilience Hub
AWS RoboMaker
AWS Service Catalog
AWS Snowball
AWS Snowcone
AWS Storage Gateway
AWS Support (Developer)
AWS Support (Enterprise)
AWS Telco Network Builder
AWS Verified Access
AWS Wickr
AWS X-Ray
Amazon AppFlow
Amazon AppStream
Amazon Augmented AI
Amazon Braket
Amazon Chime
Amazon Cloud Directory
Amazon CloudSearch
Amazon CodeGuru
Amazon CodeWhisperer
Amazon Cognito
Amazon Comprehend
Amazon Connect
Amazon Connect Customer Profiles
Amazon Connect Voice ID
Amazon DataZone
Amazon Detective
Amazon DevOps Guru
Amazon DocumentDB (with MongoDB compatibility)
Amazon EC2 Container Registry Public
Amazon Elastic MapReduce
Amazon Elastic Transcoder
Amazon EventBridge
Amazon FSx
Amazon FinSpace
Amazon Forecast
Amazon Fraud Detector
Amazon GameLift
Amazon Glacier
Amazon HealthLake
Amazon Honeycode
Amazon Interactive Video Service
Amazon Kendra
Amazon Keyspaces (for Apache Cassandra)
Amazon Kinesis Video Streams
Amazon Lex
Amazon Lightsail
Amazon Location Service
Amazon Lookout for Equipment
Amazon Lookout for Metrics
Amazon Lookout for Vision
Amazon MQ
Amazon Macie
Amazon Managed Blockchain
Amazon Managed Grafana
Amazon Managed Service for Prometheus
Amazon Managed Streaming for Apache Kafka
Amazon Managed Workflows for Apache Airflow
Amazon MemoryDB
Amazon Monitron
Amazon Neptune
Amazon Nimble Studio
Amazon Personalize
Amazon Pinpoint
Amazon Polly
Amazon Q
Amazon Quantum Ledger Database
Amazon QuickSight
Amazon Rekognition
Amazon Route 53 Application Recovery Controller
Amazon SimpleDB
Amazon Sumerian
Amazon Textract
Amazon Timestream
Amazon Transcribe
Amazon Translate
Amazon Verified Permissions
Amazon VPC Lattice
Amazon WorkDocs
Amazon WorkMail
Amazon WorkSpaces Web
CloudWatch Events
CodeBuild
Claude (Amazon Bedrock Edition)
Contact Center Telecommunications (service sold by AMCS, LLC)
Contact Lens for Amazon Connect
Datadog Pro, Enterprise and "Flex" Logs
Elastic Cloud (Elasticsearch Service) - Monthly
Fortinet FortiGate, Next-Generation Firewall (PAYG)
Große Datenbank GmbH – Sicherung
MongoDB Atlas (pay-as-you-go)
Savings Plans for AWS Compute usage
Santé Numérique, S.A.
Snowflake Data Cloud
Trend Micro Cloud One™, Endpoint & Workload
Red Hat Enterprise Linux 9, "Minimal" Image
Курс-Аналитика
Palo Alto VM-Series, Bundle 2
JFrog "Artifactory" Enterprise`
    .split('\n')
    .filter((name, index, all) => all.indexOf(name) === index),
];
