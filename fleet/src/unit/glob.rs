//! Patterns over unit names: the rules of Go's `path.Match`, which fleet used.
//!
//! `*` is any run of characters but `/`, `?` is one of those, `[a-c]` and `[^a-c]` are classes,
//! `\` takes the next character as it is. A pattern that is malformed anywhere matches nothing.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    /// Runs of what must match, each with whether a `*` stands before it; `None` if malformed.
    chunks: Option<Vec<Chunk>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    star: bool,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(char),
    /// Anything but `/`.
    Any,
    /// Unlike the others, a class may match `/`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Compiles a pattern. A malformed one is kept: it matches nothing, as in fleet.
    pub fn new(text: &str) -> Glob {
        let chars: Vec<char> = text.chars().collect();
        Glob { text: text.to_string(), chunks: compile(&chars) }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can match anything.
    pub fn is_well_formed(&self) -> bool {
        self.chunks.is_some()
    }

    /// Whether the whole name matches. Each chunk takes the first place where it fits, without
    /// ever going back.
    pub fn matches(&self, name: &str) -> bool {
        let Some(chunks) = &self.chunks else { return false };
        let name: Vec<char> = name.chars().collect();
        let mut rest = &name[..];
        for (index, chunk) in chunks.iter().enumerate() {
            let last = index + 1 == chunks.len();
            if chunk.star && chunk.items.is_empty() {
                return !rest.contains(&'/');
            }
            let mut skipped = 0;
            loop {
                if let Some(after) = chunk.strip(&rest[skipped..])
                    && (!last || after.is_empty())
                {
                    rest = after;
                    break;
                }
                if !chunk.star || skipped == rest.len() || rest[skipped] == '/' {
                    return false;
                }
                skipped += 1;
            }
        }
        rest.is_empty()
    }
}

impl Chunk {
    fn strip<'n>(&self, name: &'n [char]) -> Option<&'n [char]> {
        let (head, rest) = name.split_at_checked(self.items.len())?;
        let all = self.items.iter().zip(head).all(|(item, &c)| match item {
            Item::Literal(literal) => *literal == c,
            Item::Any => c != '/',
            Item::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        });
        all.then_some(rest)
    }
}

fn compile(text: &[char]) -> Option<Vec<Chunk>> {
    let mut chunks = vec![Chunk { star: false, items: Vec::new() }];
    let mut at = 0;
    while at < text.len() {
        let item = match text[at] {
            '*' => {
                match chunks.last_mut() {
                    Some(chunk) if chunk.items.is_empty() => chunk.star = true,
                    _ => chunks.push(Chunk { star: true, items: Vec::new() }),
                }
                at += 1;
                continue;
            }
            '?' => Item::Any,
            '[' => {
                let (item, length) = class(&text[at + 1..])?;
                at += length;
                item
            }
            '\\' => {
                at += 1;
                Item::Literal(*text.get(at)?)
            }
            literal => Item::Literal(literal),
        };
        at += 1;
        if let Some(chunk) = chunks.last_mut() {
            chunk.items.push(item);
        }
    }
    Some(chunks)
}

/// The class whose `[` has just been read, and how many characters it takes, `]` included.
fn class(text: &[char]) -> Option<(Item, usize)> {
    let negated = text.first() == Some(&'^');
    let mut at = usize::from(negated);
    let mut ranges = Vec::new();
    while text.get(at) != Some(&']') || ranges.is_empty() {
        let low = bound(text, &mut at)?;
        let high = match text.get(at) {
            Some('-') => {
                at += 1;
                bound(text, &mut at)?
            }
            _ => low,
        };
        ranges.push((low, high));
    }
    Some((Item::Class { negated, ranges }, at + 1))
}

fn bound(text: &[char], at: &mut usize) -> Option<char> {
    let mut c = *text.get(*at)?;
    match c {
        '-' | ']' => return None,
        '\\' => {
            *at += 1;
            c = *text.get(*at)?;
        }
        _ => {}
    }
    *at += 1;
    // A class always goes on after a bound.
    (*at < text.len()).then_some(c)
}
