// Makes a module of the functions that an entry file exports: what the host calls are addresses and lengths, what the
// author writes takes an `Op`. The author's code is left as it is; a second entry file, made here, calls it.

/** What an author may export: parameters, what it may return, and the export that calls it as `call`. */
const FUNCTIONS = {
  filter: {
    parameters: ["Op"],
    returns: ["bool", "boolean"],
    glue: (call) => `export function filter(at: usize, length: i32): i32 {
  return sdk.verdict(${call("sdk.opAt(at, length)")});
}`,
  },
  handle: {
    parameters: ["Op"],
    returns: ["void", "Outcome"],
    glue: (call) => `export function handle(at: usize, length: i32): i32 {
  ${call("sdk.opAt(at, length)")}
}`,
  },
  pipeline: {
    parameters: ["string", "Source"],
    returns: ["Document[]|null", "Document[]", "Array<Document>|null", "Array<Document>"],
    glue: (call) => `export function pipeline(at: usize, length: i32): u64 {
  const question = sdk.documentAt(at, length);
  return sdk.answerStages(${call("sdk.namespaceIn(question), sdk.sourceIn(question)")});
}`,
  },
  configure: {
    parameters: ["Document"],
    returns: ["void", "Outcome"],
    glue: (call) => `export function oplet_configure(at: usize, length: i32): i32 {
  ${call("sdk.documentAt(at, length)")}
}`,
  },
  flush: {
    parameters: [],
    returns: ["void", "Outcome"],
    glue: (call) => `export function oplet_flush(): i32 {
  ${call("")}
}`,
  },
  tick: {
    parameters: ["DateTime"],
    returns: ["void", "Outcome"],
    glue: (call) => `export function oplet_tick(ms: i64): i32 {
  ${call("sdk.timeOf(ms)")}
}`,
  },
  save: {
    parameters: [],
    returns: ["State", "State|null"],
    glue: (call) => `export function oplet_save(): u64 {
  return sdk.answerState(${call("")});
}`,
  },
  restore: {
    parameters: ["State"],
    returns: ["void", "Outcome"],
    glue: (call) => `export function oplet_restore(at: usize, length: i32): i32 {
  ${call("sdk.stateAt(at, length)")}
}`,
  },
};

/** One of these makes a handler. */
const HANDLERS = ["filter", "handle", "pipeline"];

/** Numbers of the compiler's own tables, which a plug-in cannot import: CommonFlags.Export, SourceKind. */
const EXPORT = 1 << 1;
const USER = 0;
const USER_ENTRY = 1;
/** DiagnosticCode.User_defined_0. */
const USER_DEFINED = 102;

/** The type as it stands in the source, without spaces. */
function written(type) {
  const { source, start, end } = type.range;
  return source.text.substring(start, end).replace(/\s+/g, "");
}

function signatureOf(name) {
  const { parameters, returns } = FUNCTIONS[name];
  const names = { Op: "op", string: "namespace", Source: "source", Document: "config", DateTime: "now", State: "state" };
  const list = parameters.map((type) => `${names[type]}: ${type}`).join(", ");
  return `\`export function ${name}(${list}): ${returns.filter((type) => !/^Array|^boolean/.test(type)).join("\` or \`")}\``
    .replace(/\|null/g, " | null");
}

export default class OpletTransform {
  afterParse(parser) {
    // The runtime is an entry, too.
    const isEntry = (source) => source.sourceKind === USER_ENTRY && !source.normalizedPath.startsWith("~lib/");
    const entry = parser.sources.find(isEntry);
    if (!entry) return;
    const { declared, elsewhere } = exported(entry);
    const used = [];
    let isWrong = false;
    for (const name of Object.keys(FUNCTIONS)) {
      const declaration = declared.get(name);
      if (declaration) {
        if (this.fits(parser, name, declaration)) used.push([name, declaration]);
        else isWrong = true;
      } else if (elsewhere.has(name)) {
        isWrong = true;
        parser.error(USER_DEFINED, elsewhere.get(name), `\`${name}\` is looked for in this file: declare it here`);
      }
    }
    if (isWrong) return;
    if (!used.some(([name]) => HANDLERS.includes(name))) {
      const range = entry.statements.length ? entry.statements[0].range : entry.range;
      parser.error(USER_DEFINED, range, `exports none of \`filter\`, \`handle\`, \`pipeline\`: ${signatureOf("handle")}`);
      return;
    }
    // Its own exports are for the glue, not for the host.
    entry.sourceKind = USER;
    parser.parseFile(glue(entry, used), "oplet-exports.ts", true);
  }

  fits(parser, name, declaration) {
    const { parameters, returns } = FUNCTIONS[name];
    const { signature } = declaration;
    const types = signature.parameters.map((parameter) => written(parameter.type));
    const isRight =
      !declaration.typeParameters &&
      types.length === parameters.length &&
      types.every((type, index) => type === parameters[index]) &&
      returns.includes(written(signature.returnType));
    if (!isRight) {
      parser.error(USER_DEFINED, declaration.name.range, `\`${name}\` has another signature than ${signatureOf(name)}`);
    }
    return isRight;
  }
}

/** The functions that a file declares and exports, and names that it exports from elsewhere. */
function exported(source) {
  const declared = new Map();
  const elsewhere = new Map();
  const functions = new Map();
  for (const statement of source.statements) {
    if (statement.signature && statement.name) {
      functions.set(statement.name.text, statement);
      if ((statement.flags & EXPORT) !== 0) declared.set(statement.name.text, statement);
    }
  }
  for (const statement of source.statements) {
    for (const member of statement.members ?? []) {
      const name = member.exportedName?.text;
      if (!name || !Object.hasOwn(FUNCTIONS, name)) continue;
      const declaration = functions.get(member.localName.text);
      if (declaration && !statement.path && member.localName.text === name) declared.set(name, declaration);
      else elsewhere.set(name, member.range);
    }
  }
  return { declared, elsewhere };
}

function glue(entry, used) {
  const path = entry.normalizedPath.replace(/\.ts$/, "");
  const text = [
    `import * as sdk from "oplet-sdk/assembly/exports";`,
    `import { ${used.map(([name]) => `${name} as author_${name}`).join(", ")} } from ${JSON.stringify(`./${path}`)};`,
    `export { oplet_abi_v1, oplet_alloc } from "oplet-sdk/assembly/exports";`,
  ];
  for (const [name, declaration] of used) {
    const returned = written(declaration.signature.returnType);
    text.push(
      FUNCTIONS[name].glue((given) => {
        const call = `author_${name}(${given})`;
        if (returned === "void") return `${call};\n  return 0;`;
        return returned === "Outcome" ? `return sdk.outcome(${call});` : call;
      }),
    );
  }
  return text.join("\n") + "\n";
}
