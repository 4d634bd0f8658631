//! Terminal output taken apart: text, line ends, colours, and everything else.
//!
//! A serial console carries what firmware, kernel and systemd mean for a
//! terminal of their own. Shown as it is, it clears the reader's screen, asks
//! the reader's terminal for its size (the answer is then typed into the
//! reader's shell) and leaves colours behind. So only text, line ends and
//! colours (SGR) get through. ECMA-48 control sequences and strings are known;
//! their 8-bit forms are not, for they are UTF-8 text here.

/// One part of a console's output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// A byte of text, part of a UTF-8 character perhaps.
    Byte(u8),
    /// A line feed.
    LineEnd,
    /// Something that moves the cursor: the text after it stands elsewhere.
    Moved,
    /// A colour or another way of writing: the whole sequence.
    Colour(&'a [u8]),
}

/// Longest sequence that is kept; anything longer is no colour.
const LONGEST: usize = 64;

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: one final byte follows.
    Intermediate,
    /// After ESC `[`.
    Sequence,
    /// In an OSC, DCS, SOS, PM or APC string, to BEL or ESC `\`.
    String,
    /// After ESC in such a string.
    StringEscape,
}

/// Takes a stream apart; sequences may be cut anywhere between two calls.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    sequence: Vec<u8>,
}

impl Parser {
    /// Feeds `bytes`; `sink` is told each part as it is complete.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Piece<'_>)) {
        for &byte in bytes {
            self.step(byte, &mut sink);
        }
    }

    fn step(&mut self, byte: u8, sink: &mut impl FnMut(Piece<'_>)) {
        const ESC: u8 = 0x1b;
        const BEL: u8 = 0x07;
        self.state = match (&self.state, byte) {
            (State::Text, b'\n') => {
                sink(Piece::LineEnd);
                State::Text
            }
            (State::Text, b'\t' | 0x20..=0x7e | 0x80..) => {
                sink(Piece::Byte(byte));
                State::Text
            }
            (State::Escape, b'[') => {
                self.sequence.clear();
                self.sequence.extend(b"\x1b[");
                State::Sequence
            }
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
            (State::Sequence, 0x20..=0x3f) => {
                if self.sequence.len() < LONGEST {
                    self.sequence.push(byte);
                }
                State::Sequence
            }
            (State::Sequence, 0x40..=0x7e) => {
                self.end_sequence(byte, sink);
                State::Text
            }
            (State::String, ESC) => State::StringEscape,
            (State::String, BEL) | (State::StringEscape, b'\\') => State::Text,
            (State::String | State::StringEscape, _) => State::String,
            (_, ESC) => State::Escape,
            _ => State::Text,
        };
    }

    fn end_sequence(&mut self, last: u8, sink: &mut impl FnMut(Piece<'_>)) {
        match last {
            b'm' if self.sequence.len() < LONGEST => {
                self.sequence.push(last);
                sink(Piece::Colour(&self.sequence));
            }
            // Cursor position (H, f, d), up and down (A, B, E, F), clearing (J).
            b'H' | b'f' | b'd' | b'A' | b'B' | b'E' | b'F' | b'J' => sink(Piece::Moved),
            _ => {}
        }
    }
}

/// Turns raw console output into what may be shown on another terminal.
#[derive(Debug, Default)]
pub struct Screen {
    parser: Parser,
    in_line: bool,
}

impl Screen {
    /// The showable part of `bytes`.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        let in_line = &mut self.in_line;
        self.parser.feed(bytes, |piece| match piece {
            Piece::Byte(byte) => {
                *in_line = true;
                shown.push(byte);
            }
            Piece::LineEnd => {
                *in_line = false;
                shown.push(b'\n');
            }
            Piece::Moved if *in_line => {
                *in_line = false;
                shown.push(b'\n');
            }
            Piece::Moved => {}
            Piece::Colour(sequence) => shown.extend(sequence),
        });
        shown
    }

    /// What puts the terminal back: colours off, and an open line ended.
    pub fn end(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.in_line) { b"\x1b[0m\n" } else { b"\x1b[0m" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(Screen::default().filter(text.as_bytes())).unwrap()
    }

    #[test]
    fn only_text_line_ends_and_colours_are_shown() {
        for (raw, want) in [
            ("plain\r\nlines\r\n", "plain\nlines\n"),
            ("é…\t✓", "é…\t✓"),
            ("\x1b[0;32m  OK  \x1b[0m", "\x1b[0;32m  OK  \x1b[0m"),
            ("\x1b[2J\x1b[01;01Hfirmware\x1b[02;01Hnext", "firmware\nnext"),
            // What systemd and getty ask a terminal for.
            ("\x1b[!p\x1b]104\x1b\\\x1b[?7h\x1b[6n\x1b[32766;32766H\x1b[6n", ""),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b(Btext\x1b=\x1b>", "text"),
            ("bell\x07 back\x08 nul\0", "bell back nul"),
        ] {
            assert_eq!(shown(raw), want, "{raw:?}");
        }
    }

    #[test]
    fn a_sequence_may_be_cut_anywhere() {
        let raw = "a\x1b[1;31mred\x1b[0m\x1b[2J\x1b]8;;x\x1b\\é\r\n".as_bytes();
        let whole = Screen::default().filter(raw);
        for cut in 0..=raw.len() {
            let mut screen = Screen::default();
            let mut parts = screen.filter(&raw[..cut]);
            parts.extend(screen.filter(&raw[cut..]));
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_sequence_is_dropped_and_takes_no_memory() {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        let digits = [b'1'; 100_000];
        parser.feed(b"\x1b[", |_| unreachable!("nothing is complete yet"));
        parser.feed(&digits, |_| unreachable!("nothing is complete yet"));
        assert!(parser.sequence.len() <= LONGEST);
        parser.feed(b"mx", |piece| seen.push(format!("{piece:?}")));
        assert_eq!(seen, ["Byte(120)"]);
    }

    #[test]
    fn the_end_closes_an_open_line() {
        let mut screen = Screen::default();
        screen.filter(b"login: ");
        assert_eq!(screen.end(), b"\x1b[0m\n");
        assert_eq!(screen.end(), b"\x1b[0m");
    }
}
