//! What a configuration looks like, for editors and manuals: the keys of every mapping with
//! the shape of their values. It is read off the tables that the configuration itself is read
//! by, so it cannot differ from them.

/// The keys of a mapping.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Those that have an effect, in the order of the table.
    pub keys: Vec<KeyOutline>,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct KeyOutline {
    /// Its name, with `_`; `-` is the same.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether the mapping is nothing without it.
    pub required: bool,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text; YAML's own types count as they are written.
    Text,
    /// `true` or `false`, or another word for them.
    Flag,
    /// A whole number, at least this.
    Whole(u64),
    /// A number.
    Number,
    /// Octal digits.
    Octal,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of such values.
    List(&'static Shape),
    /// Any of these shapes.
    Either(&'static [Shape]),
    /// A mapping with keys of its own.
    Keys(fn() -> Outline),
    /// A mapping whose keys are names that the writer chooses.
    Names(&'static Shape),
    /// Anything.
    Any,
}

/// The keys of a whole configuration.
#[must_use]
pub fn outline() -> Outline {
    crate::keys::outline()
}
