import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A cell as the file holds it: a text, or a number with its format. */
export interface Cell {
  type: string;
  value: string;
  format: string;
}

/** Reads the first sheet with nothing but Python's own zip and XML, which know nothing of the library that wrote it. */
const script = `
import json, sys, zipfile
import xml.etree.ElementTree as xml
book = zipfile.ZipFile(sys.argv[1])
assert book.testzip() is None
parse = lambda name: xml.fromstring(book.read(name))
tag = lambda name: "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}" + name
styles = parse("xl/styles.xml")
formats = {f.get("numFmtId"): f.get("formatCode") for f in styles.iter(tag("numFmt"))}
used = [x.get("numFmtId") for x in styles.find(tag("cellXfs"))]
text = lambda node: "".join(t.text or "" for t in node.iter(tag("t")))
shared = [text(s) for s in parse("xl/sharedStrings.xml").iter(tag("si"))] if "xl/sharedStrings.xml" in book.namelist() else []
rows = []
for row in parse("xl/worksheets/sheet1.xml").iter(tag("row")):
  cells = {}
  for place, cell in enumerate(row.iter(tag("c"))):
    assert cell.find(tag("f")) is None, "a formula"
    kind, value = cell.get("t", "n"), cell.find(tag("v"))
    found = text(cell) if kind == "inlineStr" else "" if value is None else value.text or ""
    if kind == "s": found = shared[int(found)]
    style = used[int(cell.get("s", "0"))]
    style = formats.get(style, style)
    cells[place] = {"type": "text" if kind in ("s", "inlineStr", "str") else kind, "value": found, "format": style}
  rows.append(cells)
json.dump(rows, sys.stdout)
`;

/** The rows of a spreadsheet's only sheet: the cells by the names that the first row gives their columns. */
export async function readSpreadsheet(file: string): Promise<Record<string, Cell>[]> {
  const { stdout } = await promisify(execFile)('/usr/bin/python3', ['-c', script, file], {
    maxBuffer: 1 << 26,
  });
  const [header = {}, ...rows] = JSON.parse(stdout) as Record<string, Cell>[];
  return rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([column, cell]) => [header[column]?.value ?? column, cell]),
    ),
  );
}
