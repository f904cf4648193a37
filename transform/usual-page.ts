/**
 * Whether an answer of GetCostAndUsage has the form of the schema that pages are parsed by. It says no
 * rather than think twice: the schema then decides, and finds the words for what is wrong. A schema's
 * parser makes every group anew, which takes longer than reading the page.
 */
export function isUsualCostPage(json: unknown): boolean {
  return (
    isObject(json) &&
    isListOf(json['GroupDefinitions'], (item) => isObject(item) && isText(item['Key'])) &&
    json['ResultsByTime'] !== undefined &&
    isListOf(json['ResultsByTime'], isResult) &&
    isListOf(json['DimensionValueAttributes'], isDescribed)
  );
}

function isResult(json: unknown): boolean {
  if (!isObject(json)) return false;
  const { TimePeriod, Estimated } = json;
  return (
    isObject(TimePeriod) &&
    isString(TimePeriod['Start']) &&
    isString(TimePeriod['End']) &&
    (Estimated === undefined || typeof Estimated === 'boolean') &&
    isListOf(json['Groups'], isGroup)
  );
}

function isGroup(json: unknown): boolean {
  return isObject(json) && isListOf(json['Keys'], isString) && isMetrics(json['Metrics']);
}

/** Every metric, also those that nobody asks for. */
function isMetrics(json: unknown): boolean {
  if (json === undefined) return true;
  if (!isObject(json)) return false;
  for (const name in json) {
    const metric = json[name];
    if (!isObject(metric) || !isText(metric['Amount']) || !isText(metric['Unit'])) return false;
  }
  return true;
}

function isDescribed(json: unknown): boolean {
  if (!isObject(json) || !isText(json['Value'])) return false;
  const { Attributes } = json;
  return Attributes === undefined || (isObject(Attributes) && isText(Attributes['description']));
}

function isListOf(json: unknown, isItem: (item: unknown) => boolean): boolean {
  if (json === undefined) return true;
  if (!Array.isArray(json)) return false;
  for (const item of json) if (!isItem(item)) return false;
  return true;
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isString(json: unknown): boolean {
  return typeof json === 'string';
}

function isText(json: unknown): boolean {
  return json === undefined || typeof json === 'string';
}
