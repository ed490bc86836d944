//! The path to where one is in a document, with dots and as components.

use oplet_sdk::raw::{Writer, kind};

/// One component; its text lies in the dotted path.
#[derive(Debug, Clone, Copy)]
struct Component {
    start: usize,
    /// Set when the component is a place in an array, not a field's name.
    index: Option<i32>,
    /// Whether the path up to and including this component is ambiguous.
    ambiguous: bool,
}

/// The length of the dotted path before a component was pushed.
#[derive(Debug)]
pub(super) struct Mark(usize);

/// A path that grows and shrinks at its end, in buffers that it keeps.
#[derive(Debug, Default)]
pub(super) struct Path {
    dotted: Vec<u8>,
    components: Vec<Component>,
}

impl Path {
    pub(super) fn clear(&mut self) {
        self.dotted.clear();
        self.components.clear();
    }

    /// Goes down to the field of that name.
    pub(super) fn push_name(&mut self, name: &[u8]) -> Mark {
        // A number is a field's name without doubt only where nothing but a document can be.
        let ambiguous =
            name.contains(&b'.') || (!self.components.is_empty() && looks_like_an_index(name));
        self.push(name, None, ambiguous)
    }

    /// Goes down to that place of an array.
    pub(super) fn push_index(&mut self, index: i32) -> Mark {
        let digits = Decimal::new(index.unsigned_abs());
        self.push(digits.as_bytes(), Some(index), false)
    }

    /// Goes back up.
    pub(super) fn pop(&mut self, mark: Mark) {
        self.dotted.truncate(mark.0);
        self.components.pop();
    }

    pub(super) fn dotted(&self) -> &[u8] {
        &self.dotted
    }

    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.dotted).ok()
    }

    pub(super) fn is_ambiguous(&self) -> bool {
        self.components.last().is_some_and(|last| last.ambiguous)
    }

    /// Adds `dotted path: [component, ...]`; `None` when a name is not UTF-8, and nothing is added.
    pub(super) fn write_components(&self, writer: &mut Writer<'_>) -> Option<()> {
        let text = self.text()?;
        writer.begin(&self.dotted, kind::ARRAY);
        for (i, component) in self.components.iter().enumerate() {
            let key = Decimal::new(i as u32);
            match component.index {
                Some(index) => writer.int32(key.as_bytes(), index),
                None => {
                    // The next one begins after a dot.
                    let end = self
                        .components
                        .get(i + 1)
                        .map_or(text.len(), |next| next.start - 1);
                    writer.text(key.as_bytes(), &text[component.start..end]);
                }
            }
        }
        writer.end();
        Some(())
    }

    fn push(&mut self, text: &[u8], index: Option<i32>, ambiguous: bool) -> Mark {
        let mark = Mark(self.dotted.len());
        // Once a path is ambiguous, all that lies below it is.
        let ambiguous = ambiguous || self.is_ambiguous();
        if !self.components.is_empty() {
            self.dotted.push(b'.');
        }
        self.components.push(Component {
            start: self.dotted.len(),
            index,
            ambiguous,
        });
        self.dotted.extend_from_slice(text);
        mark
    }
}

/// Digits without leading zeros, however many.
fn looks_like_an_index(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit) && (name.len() == 1 || name[0] != b'0')
}

/// The index after the letter of an array's difference.
pub(super) fn parse_index(digits: &[u8]) -> Option<i32> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all_digits)?;
    text.parse().ok()
}

/// A number in decimal, without allocation.
pub(super) struct Decimal {
    digits: [u8; 10],
    start: usize,
}

impl Decimal {
    pub(super) fn new(mut number: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}
