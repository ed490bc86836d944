// An AssemblyScript compiler that stays: its second run takes a fraction of its first. Each line of standard
// input is the arguments of one run, as JSON; after what the compiler says comes a line with its end. It
// ends with its standard input.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const asc = await import(pathToFileURL(process.argv[1]));
const output = { write: (text) => process.stdout.write(text) };
for await (const line of createInterface({ input: process.stdin })) {
  const { error } = await asc.main(JSON.parse(line), { stdout: output, stderr: output });
  process.stdout.write(`\n\u0001${error ? "failed" : "done"}\n`);
}
