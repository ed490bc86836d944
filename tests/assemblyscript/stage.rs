//! One module at work, and what came of each op.

use std::sync::Arc;

use bson::{Bson, Document, RawDocument, RawDocumentBuf};
use oplet::guest::{
    Engine, GuestError, Instance, Limits, Module, Options, Outcome, Settings, Verdict,
};
use oplet_testkit::guest;

/// An instance with two sinks, `first` and `second`.
pub(crate) struct Stage {
    pub(crate) instance: Instance,
}

/// What came of an op, if the instance lives.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) outcome: Option<Outcome>,
    /// Number of the sink, and the document's bytes.
    pub(crate) outputs: Vec<(u32, RawDocumentBuf)>,
    pub(crate) counts: Vec<(String, i64)>,
}

impl Stage {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, Limits::default(), None).unwrap()
    }

    pub(crate) fn with(
        name: &str,
        limits: Limits,
        config: Option<Document>,
    ) -> Result<Self, GuestError> {
        let wasm = std::fs::read(guest(name).unwrap()).unwrap();
        Self::of(name, &wasm, limits, config)
    }

    pub(crate) fn of(
        name: &str,
        wasm: &[u8],
        limits: Limits,
        config: Option<Document>,
    ) -> Result<Self, GuestError> {
        let options = Options {
            limits: limits.clone(),
            instances_max: 2,
            ..Options::default()
        };
        let engine = Engine::new(&options).unwrap();
        let settings = Settings::with_limits(limits);
        let module = Module::load(&engine, name, wasm, settings).unwrap();
        // Names are there, nothing unknown is imported, no wrapper stands around the exports.
        let mut warnings = module.warnings().iter();
        assert!(
            warnings.all(|warning| warning.to_string().contains("no maximum")),
            "{name}: {:?}",
            module.warnings()
        );
        let sinks: Arc<[String]> = Arc::new(["first".into(), "second".into()]);
        let config = config.as_ref().map(bytes);
        let instance = module.instantiate(&sinks, config.as_deref())?;
        Ok(Self { instance })
    }

    /// Hands an op over, as a lane does.
    pub(crate) fn op(&mut self, op: &[u8], pending: bool) -> Result<Answer, GuestError> {
        self.instance.write_op(op)?;
        let verdict = self.instance.filter(pending)?;
        let outcome = match verdict {
            Verdict::Keep => Some(self.instance.handle()?),
            _ => {
                self.instance.clear_outputs();
                None
            }
        };
        Ok(Answer {
            verdict,
            outcome,
            outputs: self.outputs(),
            counts: self.counts(),
        })
    }

    /// What the module says at the border of a batch.
    pub(crate) fn flush(&mut self) -> Vec<(u32, RawDocumentBuf)> {
        self.instance.flush().unwrap();
        self.outputs()
    }

    fn outputs(&self) -> Vec<(u32, RawDocumentBuf)> {
        let owned = |(sink, bytes): (u32, &[u8])| {
            let document = RawDocument::from_bytes(bytes).unwrap();
            (sink, document.to_owned())
        };
        self.instance.outputs().map(owned).collect()
    }

    fn counts(&mut self) -> Vec<(String, i64)> {
        let counts = self.instance.take_counts();
        counts.map(|(name, sum)| (name.to_owned(), sum)).collect()
    }
}

impl Answer {
    /// The documents that were emitted to whichever sink, decoded.
    pub(crate) fn documents(&self) -> Vec<Document> {
        let decoded = self
            .outputs
            .iter()
            .map(|(_, bytes)| bytes.try_into().unwrap());
        decoded.collect()
    }
}

/// A document as it lies in memory.
pub(crate) fn bytes(document: &Document) -> Vec<u8> {
    let bytes = RawDocumentBuf::try_from(document).unwrap();
    bytes.into_bytes()
}

/// The documents that a file has, one a line.
pub(crate) fn lines(text: &str) -> Vec<Document> {
    let parse = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        Bson::try_from(json).unwrap().as_document().unwrap().clone()
    };
    text.lines().map(parse).collect()
}
